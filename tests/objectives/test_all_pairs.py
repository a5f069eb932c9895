"""`AllPairs` against its definition, computed for every cell of the score matrix."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.errors import ConfigError
from twotower.kernels.pairs import Pairs
from twotower.objectives import AllPairs, Squared


def make_case(seed=0, n_users=9, n_items=13, n=60, width=6, weighted=False):
    rng = np.random.default_rng(seed)
    U, V = (torch.from_numpy(rng.normal(size=(rows, width)) * 0.5) for rows in (n_users, n_items))
    weight = rng.uniform(0.1, 2, size=n) if weighted else None
    return U, V, rng.integers(n_users, size=n), rng.integers(n_items, size=n), np.ones(n), weight


def by_definition(U, V, user, item, label, weight, mass, power):
    U, V = U.clone().requires_grad_(), V.clone().requires_grad_()
    scores = U @ V.T
    w = torch.ones(len(user), dtype=torch.float64) if weight is None else torch.from_numpy(weight)
    count = np.array([(user == u).sum() for u in range(len(U))], dtype=np.float64)
    share = torch.from_numpy(len(U) * count**power / (count**power).sum())
    error = scores[torch.from_numpy(user), torch.from_numpy(item)] - torch.from_numpy(label)
    loss = (w * error**2).sum() / w.sum() + mass * (share[:, None] * scores**2).mean()
    loss.backward()
    return loss.item(), U.grad.numpy(), V.grad.numpy()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("mass", [0.0, 0.3, 4.0])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-6), (torch.float32, 3e-5)])
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_is_its_definition(weighted, mass, dtype, rtol, power):
    U, V, user, item, label, weight = make_case(weighted=weighted)
    want = by_definition(U, V, user, item, label, weight, mass, power)
    pairs = Pairs.from_arrays(user, item, label, weight, n_users=len(U))
    got = AllPairs(mass, power).on(pairs)(U.to(dtype), V.to(dtype), pairs)
    assert got.loss == pytest.approx(want[0], rel=rtol)
    for mine, oracle in zip((got.dU, got.dV), want[1:], strict=True):
        assert mine.dtype == dtype
        npt.assert_allclose(mine.numpy(), oracle, rtol=rtol, atol=rtol * np.abs(oracle).max())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_copies_of_everybody_change_nothing(seed, copies):
    """Both terms are means: the same users twice, with the same pairs, have the same loss."""
    U, V, user, item, label, _ = make_case(seed)
    once = AllPairs(4.0)(U, V, Pairs.from_arrays(user, item, label, n_users=len(U)))
    users = np.concatenate([user + len(U) * c for c in range(copies)])
    pairs = Pairs.from_arrays(users, np.tile(item, copies), np.tile(label, copies), n_users=len(U) * copies)
    many = AllPairs(4.0)(U.repeat(copies, 1), V, pairs)
    assert many.loss == pytest.approx(once.loss, rel=1e-9)
    npt.assert_allclose(many.dV.numpy(), once.dV.numpy(), rtol=1e-7, atol=1e-12)
    npt.assert_allclose(many.dU.numpy()[: len(U)] * copies, once.dU.numpy(), rtol=1e-7, atol=1e-12)


def test_the_minimum_is_that_of_alternating_least_squares():
    """With fixed items, the optimal users solve ``(V_u'V_u / n + mass / cells V'V) x = V_u'1 / n``."""
    U, V, user, item, _, _ = make_case(n=40)
    pairs_of = np.unique(np.stack([user, item], axis=1), axis=0)
    user, item = pairs_of.T
    n, mass = len(user), 0.5
    for u in range(len(U)):
        own = V[torch.from_numpy(item[user == u])]
        left = own.T @ own / n + mass / (len(U) * len(V)) * V.T @ V
        U[u] = torch.linalg.solve(left, own.sum(0) / n)
    result = AllPairs(mass)(U, V, Pairs.from_arrays(user, item, np.ones(n), n_users=len(U)))
    npt.assert_allclose(result.dU.numpy(), 0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_pairs_leaves_the_pull_to_zero(dtype):
    U, V, *_ = make_case()
    U, V = U.to(dtype), V.to(dtype)
    none = np.empty(0, dtype=np.int64)
    result = AllPairs(2.0)(U, V, Pairs.from_arrays(none, none, none, n_users=len(U)))
    assert result.loss == pytest.approx(2 * float(((U @ V.T) ** 2).mean()), rel=1e-5)
    assert result.dU.abs().max() > 0


def test_no_rows_is_the_squared_loss():
    none = np.empty(0, dtype=np.int64)
    pairs = Pairs.from_arrays(none, none, none, n_users=0)
    U, V = torch.zeros(0, 4), torch.ones(3, 4)
    assert AllPairs(4.0)(U, V, pairs).loss == Squared()(U, V, pairs).loss == 0


def test_vectors_are_left_alone():
    U, V, user, item, label, _ = make_case()
    before = U.clone(), V.clone()
    AllPairs(4.0)(U, V, Pairs.from_arrays(user, item, label, n_users=len(U)))
    assert torch.equal(U, before[0])
    assert torch.equal(V, before[1])


@pytest.mark.parametrize("mass", [-0.1, float("nan"), float("inf")])
def test_a_mass_that_is_none(mass):
    with pytest.raises(ConfigError, match=r"mass of at least 0; got"):
        AllPairs(mass)
