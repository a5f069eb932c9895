"""`BPR` against its definition on the negatives drawn, and the distribution of the draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare

from twotower.core.lists import Lists
from twotower.errors import ConfigError, DataError
from twotower.kernels.pairs import Pairs
from twotower.objectives import BPR, Step, bpr
from twotower.objectives.bpr import draw_negatives


def make_case(seed: int = 0, n_users: int = 7, n_items: int = 15, n: int = 40, weighted: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    U, V = (torch.from_numpy(rng.normal(size=(rows, 5))) for rows in (n_users, n_items))
    weight = rng.uniform(0.1, 2, size=n) if weighted else None
    user, item = rng.integers(n_users, size=n), rng.integers(n_items, size=n)
    return U, V, Pairs.from_arrays(user, item, np.ones(n), weight, n_users=n_users)


def owners(pairs: Pairs) -> np.ndarray:
    return np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-6), (torch.float32, 5e-5)])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_is_its_definition(
    weighted: bool, dtype: torch.dtype, rtol: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bpr, "_CHUNK", chunk)
    U, V, pairs = make_case(weighted=weighted)
    step = Step(seed=3)
    drawn = draw_negatives(owners(pairs), pairs, len(V), 4, step)
    u, v = U.clone().requires_grad_(), V.clone().requires_grad_()
    loss, total = torch.zeros((), dtype=torch.float64), 0.0
    for p, user in enumerate(owners(pairs)):
        for j in drawn[p]:
            if j >= 0:
                w = 1.0 if pairs.weight is None else float(pairs.weight[p])
                loss = loss - w * F.logsigmoid(u[user] @ v[pairs.item[p]] - u[user] @ v[j])
                total += w
    (loss / total).backward()
    got = BPR(4)(U.to(dtype), V.to(dtype), pairs, step=step)
    assert got.loss == pytest.approx((loss / total).item(), rel=rtol)
    for mine, oracle in ((got.dU, u.grad), (got.dV, v.grad)):
        assert oracle is not None
        npt.assert_allclose(mine.numpy(), oracle.numpy(), rtol=rtol, atol=rtol)


def test_negatives_are_none_of_the_users_and_even_over_the_rest() -> None:
    user, item = np.zeros(3, np.int64), np.array([0, 4, 9])
    pairs = Pairs.from_arrays(user, item, np.ones(3), n_users=1)
    elsewhere = Lists.from_groups([[2, 4]])  # in another step's pairs
    drawn = draw_negatives(user, pairs, 10, 4000, Step(elsewhere, seed=1)).reshape(-1)
    assert np.mean(drawn < 0) < 1e-3  # eight draws in a row that the user has: .4 ** 8
    drawn = drawn[drawn >= 0]
    assert set(drawn.tolist()) == {1, 3, 5, 6, 7, 8}
    assert chisquare(np.bincount(drawn)[[1, 3, 5, 6, 7, 8]]).pvalue > 1e-3


def test_rows_that_are_there_more_surely_are_drawn_less() -> None:
    """Draws from samples of the catalogue that favour popular items are uniform over the items."""
    n_items, drawn_of_each = 120, 10
    chance = np.linspace(0.1, 1.0, n_items)
    rng, user = np.random.default_rng(0), np.zeros(1, np.int64)
    counts = np.zeros((2, n_items))
    for seed in range(1500):
        there = np.flatnonzero(rng.random(n_items) < chance)
        pairs = Pairs.from_arrays(user, np.array([len(there) - 1]), np.ones(1), n_users=1)
        log_q = np.log(chance[there]).astype(np.float32)
        for corrected in (0, 1):
            step = Step(None, log_q if corrected else None, seed)
            drawn = draw_negatives(user, pairs, len(there), drawn_of_each, step).reshape(-1)
            np.add.at(counts[corrected], there[drawn], 1)
    bands = counts[:, :-20].reshape(2, 4, 25).sum(axis=2)  # the last items are often the user's own
    bands /= bands.mean(axis=1, keepdims=True)
    npt.assert_allclose(bands[1], 1.0, atol=0.06)
    assert bands[0, 3] > 3 * bands[0, 0]


def test_the_seed_decides() -> None:
    U, V, pairs = make_case()
    losses = [BPR()(U, V, pairs, step=Step(seed=seed)).loss for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_who_has_everything_or_nothing_adds_nothing() -> None:
    U, V, _ = make_case(n_users=1, n_items=2)
    none = np.empty(0, dtype=np.int64)
    for user, item in ((none, none), (np.array([0, 0]), np.array([0, 1]))):
        pairs = Pairs.from_arrays(user, item, np.ones(len(user)), n_users=1)
        loss, dU, dV = BPR()(U, V, pairs)
        assert loss == 0
        assert not dU.any()
        assert not dV.any()


def test_bad_input() -> None:
    with pytest.raises(ConfigError, match="at least 1 negative"):
        BPR(0)
    U, V, pairs = make_case()
    with pytest.raises(DataError, match=r"must lie in \[0, 5\)"):
        BPR()(U, V[:5], pairs)
