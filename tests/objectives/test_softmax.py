"""`Softmax` against its definition, pair by pair, and the sampled form against the full one."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
import torch
import torch.nn.functional as F

from twotower.core.lists import Lists
from twotower.errors import ConfigError, DataError
from twotower.kernels.pairs import Pairs
from twotower.objectives import Softmax, Step, softmax


def make_case(seed=0, n_users=9, n_items=13, n=60, width=6, weighted=False):
    rng = np.random.default_rng(seed)
    U, V = (torch.from_numpy(rng.normal(size=(rows, width))) for rows in (n_users, n_items))
    weight = rng.uniform(0.1, 2, size=n) if weighted else None
    return U, V, rng.integers(n_users, size=n), rng.integers(n_items, size=n), weight


def by_definition(U, V, user, item, weight, temperature, log_q=None):
    U, V = U.clone().requires_grad_(), V.clone().requires_grad_()
    w = np.ones(len(user)) if weight is None else weight.astype(np.float32).astype(np.float64)
    own = {(u, i) for u, i in zip(user.tolist(), item.tolist(), strict=True)}
    loss = torch.zeros((), dtype=torch.float64)
    for p, (u, i) in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
        logits = [U[u] @ V[i] / temperature]
        negatives = [j for j in range(len(V)) if (u, j) not in own]
        logits += [U[u] @ V[j] / temperature - (0.0 if log_q is None else log_q[j]) for j in negatives]
        loss = loss + w[p] * F.cross_entropy(torch.stack(logits)[None], torch.tensor([0]))
    loss = loss / w.sum()
    loss.backward()
    return loss.item(), U.grad.numpy(), V.grad.numpy()


def step_of(log_q, positives=None):
    return Step(positives, None if log_q is None else np.asarray(log_q))


def pairs_of(user, item, weight, n_users):
    return Pairs.from_arrays(user, item, np.ones(len(user)), weight, n_users=n_users)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-6), (torch.float32, 5e-5)])
def test_is_its_definition(weighted, temperature, corrected, dtype, rtol):
    U, V, user, item, weight = make_case(weighted=weighted)
    log_q = torch.linspace(-2, 0.5, len(V), dtype=torch.float64) if corrected else None
    want = by_definition(U, V, user, item, weight, temperature, log_q)
    got = Softmax(temperature)(
        U.to(dtype), V.to(dtype), pairs_of(user, item, weight, len(U)), step=step_of(log_q)
    )
    assert got.loss == pytest.approx(want[0], rel=rtol)
    for mine, oracle in zip((got.dU, got.dV), want[1:], strict=True):
        assert mine.dtype == dtype
        npt.assert_allclose(mine.numpy(), oracle, rtol=rtol, atol=rtol * np.abs(oracle).max())


def test_in_blocks_of_users_it_is_the_same(monkeypatch):
    U, V, user, item, weight = make_case(n_users=40, n=90, weighted=True)
    user = user // 2 * 2  # every other user has no pairs
    pairs = pairs_of(user, item, weight, len(U))
    whole = Softmax()(U, V, pairs)
    monkeypatch.setattr(softmax, "_CELLS", 3 * len(V))
    cut = Softmax()(U, V, pairs)
    assert cut.loss == pytest.approx(whole.loss, rel=1e-12)
    npt.assert_allclose(cut.dU.numpy(), whole.dU.numpy(), rtol=1e-9, atol=1e-15)
    npt.assert_allclose(cut.dV.numpy(), whole.dV.numpy(), rtol=1e-9, atol=1e-15)


def test_corrected_samples_have_the_sum_of_the_full_softmax_as_their_mean():
    """exp(loss) - 1 is the sum over negatives; with unequal sampling and correction it is unbiased."""
    rng = np.random.default_rng(0)
    n_items, drawn = 50, 20
    U = torch.from_numpy(rng.normal(size=(1, 4)) * 0.5)
    V = torch.from_numpy(rng.normal(size=(n_items, 4)) * 0.5)
    share = rng.dirichlet(np.ones(n_items) * 2)
    none = np.array([0])

    def negatives(rows, log_q):
        """The positive, item 0, first; then the sampled rows."""
        at = np.concatenate([[0], rows])
        log_q = None if log_q is None else np.concatenate([[0.0], log_q[rows]])
        loss = Softmax()(U, V[torch.from_numpy(at)], pairs_of(none, none, None, 1), step=step_of(log_q)).loss
        return np.expm1(loss)

    full = negatives(np.arange(1, n_items), None)
    share[0] = 0.0  # the user's own item is never drawn
    share /= share.sum()
    log_q = np.log(np.maximum(share, 1e-300) * drawn)
    samples = [rng.choice(n_items, drawn, p=share) for _ in range(4000)]
    right = np.array([negatives(rows, log_q) for rows in samples])
    error = right.std() / np.sqrt(len(right))
    assert abs(right.mean() - full) < 4 * error
    # with the wrong sign or no correction the error is large
    for wrong in (-log_q, None):
        assert abs(np.mean([negatives(rows, wrong) for rows in samples[:500]]) - full) > 40 * error


def test_an_item_that_the_user_has_too_is_no_negative():
    U, V = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 1.0]])
    pairs = pairs_of(np.array([0, 0]), np.array([0, 1]), None, 1)
    expected = (np.log1p(np.exp(-1.0)) + np.log1p(np.exp(-5.0))) / 2
    assert Softmax()(U, V, pairs).loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_pairs_or_negatives_there_is_nothing_to_learn(dtype):
    U, V, *_ = make_case(n_users=1, n_items=2)
    U, V, none = U.to(dtype), V.to(dtype), np.empty(0, dtype=np.int64)
    everything = pairs_of(np.array([0, 0]), np.array([0, 1]), None, 1)
    for pairs in (pairs_of(none, none, None, 1), everything):
        loss, dU, dV = Softmax()(U, V, pairs)
        assert loss == 0
        assert not dU.any()
        assert not dV.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_diverged_model_shows_in_the_loss(bad):
    U, V, user, item, _ = make_case()
    U[4, 3] = bad
    assert not np.isfinite(Softmax()(U, V, pairs_of(user, item, None, len(U))).loss)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none(temperature):
    with pytest.raises(ConfigError, match=r"temperature above 0; got"):
        Softmax(temperature)


def test_what_does_not_fit():
    U, V, user, item, _ = make_case()
    pairs = pairs_of(user, item, None, len(U))
    with pytest.raises(ValueError, match=r"log_q must have shape \(13,\)"):
        Softmax()(U, V, pairs, step=step_of(np.zeros(3)))
    with pytest.raises(DataError, match=r"must lie in \[0, 5\)"):
        Softmax()(U, V[:5], pairs)
    with pytest.raises(ValueError, match="same width"):
        Softmax()(U, V[:, :3], pairs)


def test_what_the_user_has_in_other_steps_is_no_negative_either():
    U, V, user, item, weight = make_case(weighted=True)
    pairs = pairs_of(user, item, weight, len(U))
    more = [sorted({(u + 3) % len(V), (2 * u + 1) % len(V)}) for u in range(len(U))]
    got = Softmax()(U, V, pairs, step=step_of(None, Lists.from_groups(more)))
    own = set(zip(user.tolist(), item.tolist(), strict=True))
    u, v = U.clone().requires_grad_(), V.clone().requires_grad_()
    total, w = torch.zeros((), dtype=torch.float64), weight.astype(np.float32).astype(np.float64)
    for p, (a, i) in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
        others = [j for j in range(len(V)) if (a, j) not in own and j not in more[a]]
        logits = torch.stack([u[a] @ v[i], *(u[a] @ v[j] for j in others)])
        total = total + w[p] * F.cross_entropy(logits[None], torch.tensor([0]))
    (total / w.sum()).backward()
    assert got.loss == pytest.approx((total / w.sum()).item(), rel=1e-6)
    npt.assert_allclose(got.dU.numpy(), u.grad.numpy(), rtol=1e-6, atol=1e-9)
    npt.assert_allclose(got.dV.numpy(), v.grad.numpy(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("hard", [1, 3, 100])
def test_hard_negatives_are_those_of_highest_score(hard):
    U, V, user, item, _ = make_case()
    got = Softmax(hard=hard)(U, V, pairs_of(user, item, None, len(U)))
    own = set(zip(user.tolist(), item.tolist(), strict=True))
    want = []
    for a, i in zip(user.tolist(), item.tolist(), strict=True):
        scores = sorted((float(U[a] @ V[j]) for j in range(len(V)) if (a, j) not in own), reverse=True)
        want.append(np.log1p(np.exp(np.array(scores[:hard]) - float(U[a] @ V[i])).sum()))
    assert got.loss == pytest.approx(np.mean(want), rel=1e-6)
    with pytest.raises(ConfigError, match="`hard` of at least 1"):
        Softmax(hard=0)
