"""Posterior means against the explicit formulas in float64, and what they do not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
import torch

from twotower.features import Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.mlp import MLPConfig
from twotower.training.closed_form import gaussians, grouped_pairs, posterior
from twotower.training.closed_form.posterior import take_posterior_means

N_USERS, N_ITEMS, N = 11, 8, 60
PENALTY = 0.2
Matrix = np.ndarray[Any, Any]


def side(n: int, seed: int) -> SideArrays:
    values = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    return SideArrays.pack(
        EncodedSide(np.arange(1, n + 1, dtype=np.int32), {"x": Dense(values)}), torch.device("cpu")
    )


USERS, ITEMS = side(N_USERS, 0), side(N_ITEMS, 1)


def pairs(weight: bool = False, n: int = N) -> Pairs:
    rng = np.random.default_rng(2)
    chosen = rng.choice(N_USERS * N_ITEMS, n, replace=False)
    user, item = (chosen // N_ITEMS).astype(np.int32), (chosen % N_ITEMS).astype(np.int32)
    target = rng.normal(size=n).astype(np.float32)
    given = rng.uniform(0.5, 2.0, n).astype(np.float32) if weight else None
    return Pairs.from_arrays(user, item, target, given, n_users=N_USERS)


def model(members: int = 2) -> TwoTowerModel:
    config = MLPConfig(dim=8, hidden=(8,), ensemble_size=members)
    return TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, config, seed=3, mean=0.25)


def outputs(towers: TwoTowerModel, ids: bool) -> list[Matrix]:
    """Each tower's outputs in float64, with ids or from the features only."""
    towers.eval()
    with torch.no_grad():
        return [
            tower(part if ids else replace(part, warm=torch.zeros_like(part.warm))).double().numpy()
            for tower, part in ((towers.users, USERS), (towers.items, ITEMS))
        ]


def by_the_book(towers: TwoTowerModel, train: Pairs) -> list[Matrix]:
    """The formulas of `posterior` in loops over rows and pairs."""
    found, prior = outputs(towers, ids=True), outputs(towers, ids=False)
    members, width = towers.config.n_members, found[0].shape[1] // towers.config.n_members
    rows = [train.user, train.item]
    y = train.label.astype(float) - float(towers.mean)
    score = np.zeros(len(y))
    for m in range(members):
        u, v = (found[k][rows[k], m * width : (m + 1) * width] for k in (0, 1))
        score += ((u[:, :-1] * v[:, :-1]).sum(1) + u[:, -1] + v[:, -1]) / members
    given = np.ones(len(y)) if train.weight is None else train.weight / train.weight.mean(dtype=float)
    error = (score - y) ** 2
    everyone = (given * error).mean()
    weight = given.copy()
    for p, user in enumerate(train.user):
        own = train.user == user
        summed = (given * error)[own].sum() + grouped_pairs.SHRINK * everyone
        weight[p] /= summed / (given[own].sum() + grouped_pairs.SHRINK)
    weight /= weight.mean()
    noise = (weight * error).mean()
    counts = [np.bincount(rows[k], minlength=n) for k, n in ((0, N_USERS), (1, N_ITEMS))]
    # the penalty of training: strength times pairs, distributed by the square root of pairs
    lam = [PENALTY * len(y) * np.sqrt(c) / np.sqrt(c).sum() for c in counts]
    for m in range(members):
        own = slice(m * width, (m + 1) * width)
        mean = [f[:, own] for f in found]  # views of the arrays that are returned
        before = [f[:, own] for f in prior]
        covariance = [np.zeros((len(f), width, width)) for f in found]

        def solve(k: int, only_covariance: bool = False) -> None:
            other = 1 - k
            for row in range(len(mean[k])):  # noqa: B023
                P = lam[k][row] * np.eye(width)
                right = lam[k][row] * before[k][row]  # noqa: B023
                for p in np.flatnonzero(rows[k] == row):
                    o = rows[other][p]
                    a = np.append(mean[other][o, :-1], 1.0)  # noqa: B023
                    C = covariance[other][o].copy()  # noqa: B023
                    P[:-1, :-1] += weight[p] * C[:-1, :-1]
                    P += weight[p] * np.outer(a, a)
                    right = right + weight[p] * a * (y[p] - mean[other][o, -1])  # noqa: B023
                    right[:-1] -= weight[p] * C[:-1, -1]
                covariance[k][row] = noise * np.linalg.inv(P)  # noqa: B023
                if not only_covariance:
                    mean[k][row] = np.linalg.solve(P, right)  # noqa: B023

        solve(0, only_covariance=True)
        for _ in range(posterior.ROUNDS):
            solve(1)
            solve(0)
    return found


@pytest.mark.parametrize(("members", "weight"), [(1, False), (2, True)])
@pytest.mark.parametrize("block", [1, 2**22])
def test_the_ids_have_the_means_of_the_formula(
    members: int, weight: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaussians, "_BLOCK", block)
    towers, train = model(members), pairs(weight)
    features = outputs(towers, ids=False)
    expected = by_the_book(towers, train)
    take_posterior_means(towers, USERS, ITEMS, train, PENALTY)
    for found, wanted in zip(outputs(towers, ids=True), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)
    for kept, old in zip(outputs(towers, ids=False), features, strict=True):
        np.testing.assert_array_equal(kept, old)


def test_the_bits_do_not_depend_on_threads_or_the_scale_of_weights() -> None:
    train, found, before = pairs(weight=True), [], numba.get_num_threads()
    assert train.weight is not None
    for threads, scale in ((1, 1.0), (min(2, before), 1.0), (1, 4.0)):
        numba.set_num_threads(threads)
        towers = model()
        scaled = replace(train, weight=train.weight * np.float32(scale))
        take_posterior_means(towers, USERS, ITEMS, scaled, PENALTY)
        found.append([tower.ids.weight.detach().numpy().tobytes() for tower in (towers.users, towers.items)])
    numba.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_a_strong_penalty_leaves_what_the_features_say() -> None:
    towers = model()
    take_posterior_means(towers, USERS, ITEMS, pairs(), 1e6)
    assert float(towers.users.ids.weight.detach().abs().max()) < 1e-4


@pytest.mark.parametrize("nothing", ["penalty", "pairs", "weight"])
def test_without_prior_or_pairs_nothing_is_done(nothing: str) -> None:
    towers, train = model(), pairs(n=0 if nothing == "pairs" else N)
    if nothing == "weight":
        train = replace(train, weight=np.zeros(N, np.float32))
    old = towers.items.ids.weight.clone()
    take_posterior_means(towers, USERS, ITEMS, train, 0.0 if nothing == "penalty" else PENALTY)
    assert torch.equal(towers.items.ids.weight, old)


def test_hardly_a_prior_and_a_row_without_pairs() -> None:
    towers, train = model(), pairs()
    kept = train.item > 0
    train = Pairs.from_arrays(train.user[kept], train.item[kept], train.label[kept], n_users=N_USERS)
    take_posterior_means(towers, USERS, ITEMS, train, 1e-30)
    assert all(bool(tower.ids.weight.isfinite().all()) for tower in (towers.users, towers.items))
