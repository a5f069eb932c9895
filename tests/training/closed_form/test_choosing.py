"""The choice of width, regularisation and hard negatives, against worths known by hand; hard negatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

import twotower as tt
from twotower.data.dataset import Dataset, TrainPart
from twotower.kernels.least_squares import solve_rows
from twotower.kernels.pairs import Pairs
from twotower.objectives.objective import CellWeight
from twotower.training import Callback
from twotower.training.closed_form.choosing import HARD_WEIGHT, STEP, Search, widths_for
from twotower.training.closed_form.hard_negatives import PER_PAIR, POOL, Negatives, draws
from twotower.training.closed_form.pair_squares import PairSquares


class Model(torch.nn.Module):
    """Towers whose one weight counts epochs."""

    def __init__(self, solving: Fake) -> None:
        super().__init__()
        self.solving, self.epochs = solving, torch.nn.Parameter(torch.zeros(()), requires_grad=False)


class Fake:
    """Counts what a search costs."""

    def __init__(self, dim: int, regularisation: float, costs: list[int]) -> None:
        self.dim, self.regularisation, self.costs, self.hard_weight = dim, regularisation, costs, 0.0
        self.model = Model(self)

    def run(self, number: int) -> None:
        assert number >= 1
        self.costs.append(self.dim)
        self.model.epochs += 1

    def set_regularisation(self, regularisation: float) -> None:
        self.regularisation = regularisation


def search(worth: Callable[[int, float, float], float]) -> tuple[Search, list[int]]:
    costs: list[int] = []

    def measured(model: Model) -> float:
        of = model.solving
        return worth(of.dim, of.regularisation, of.hard_weight)

    return Search(lambda dim, strength: Fake(dim, strength, costs), measured), costs


def peak(dim: int, strength: float, hard: float, *, best: float, of_dim: dict[int, float]) -> float:
    return of_dim[dim] * (1 - 0.05 * abs(np.log(strength / best)) / np.log(STEP)) * (1 + hard)


EVERY = [64, 128, 256, 512]


@pytest.mark.parametrize(
    ("of_dim", "best", "dim", "steps"),
    [
        ({64: 1.0, 128: 1.001, 256: 1.002, 512: 1.003}, 0.33, 64, 0),  # nothing is gained
        ({64: 1.0, 128: 1.05, 256: 1.055, 512: 2.0}, 0.33, 128, 0),  # stops at the first width without a gain
        ({64: 1.0, 128: 1.1, 256: 1.2, 512: 1.3}, 0.33 / STEP**3, 512, -3),
        ({64: 1.0, 128: 1.1, 256: 1.05, 512: 1.0}, 0.33 * STEP**2, 128, 2),
    ],
)
def test_the_width_and_regularisation_of_highest_worth_are_found(
    of_dim: dict[int, float], best: float, dim: int, steps: int
) -> None:
    made, costs = search(lambda *at: peak(*at, best=best, of_dim=of_dim))
    found = made.choose(EVERY, 0.33, along=True, hard=False)
    assert (found.dim, found.hard_weight) == (dim, 0.0)
    npt.assert_allclose(found.regularisation, 0.33 * STEP**steps)
    assert f"chose dim {dim}, regularisation" in str(found)
    # an epoch costs what its width does, and a fit with early stopping has about 12
    assert sum(costs) <= 3 * 12 * max(256, dim)


def test_more_dimensions_may_need_a_stronger_regularisation() -> None:
    def worth(dim: int, strength: float, hard: float) -> float:
        best = 0.1 if dim <= 128 else 0.1 * STEP
        return peak(dim, strength, hard, best=best, of_dim={64: 0.8, 128: 0.9, 256: 0.93, 512: 0.8})

    found = search(worth)[0].choose(EVERY, 0.1, along=True, hard=False)
    assert (found.dim, round(found.regularisation, 6)) == (256, round(0.1 * STEP, 6))


def test_what_is_set_stays() -> None:
    made, costs = search(lambda *at: peak(*at, best=0.01, of_dim={96: 1.0}))
    assert made.choose([96], 0.2, along=False, hard=False).regularisation == 0.2
    assert set(costs) == {96}


@pytest.mark.parametrize(("factor", "weight"), [(1.0, HARD_WEIGHT), (0.001, 0.0), (-1.0, 0.0)])
def test_hard_negatives_are_taken_where_they_help_clearly(factor: float, weight: float) -> None:
    made, _ = search(lambda dim, strength, hard: 1.0 + factor * hard)
    assert made.choose([64], 0.33, along=True, hard=True).hard_weight == weight


def test_widths_follow_from_the_size_of_the_data() -> None:
    assert widths_for(100_000, 10_000, 512) == [64, 128, 256, 512]
    assert widths_for(100_000, 10_000, 200) == [64, 128, 200]
    assert widths_for(100_000, 10_000, 32) == [32]
    assert widths_for(10_000_000, 165_000, 512) == [64]  # MovieLens 20M
    assert widths_for(1_000_000, 1_500_000, 512) == [64, 128]


def positives(n_users: int = 250, n_items: int = 60, seed: int = 0) -> TrainPart:
    """Users of five groups like the items of their group."""
    rng = np.random.default_rng(seed)
    user, item = (x.reshape(-1) for x in np.mgrid[:n_users, :n_items])
    taken = rng.random(len(user)) < np.where(user % 5 == item % 5, 0.4, 0.05)
    return Dataset.of(pl.DataFrame({"user_id": user[taken], "item_id": item[taken]}), schema={}).as_train()


def drawn(*given: Any, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return users and items of all negatives."""
    _, users, items = zip(*draws(*given, seed=seed), strict=True)
    return np.concatenate(users), np.concatenate(items)


def test_negatives_are_among_the_best_of_what_a_user_has_not() -> None:
    rng = np.random.default_rng(1)
    U, V = rng.normal(size=(30, 4)).astype(np.float32), rng.normal(size=(200, 4)).astype(np.float32)
    user = np.repeat(np.arange(30), 3)
    item = np.argsort(-(U @ V.T), axis=1)[:, [0, 2, 50]].reshape(-1)
    pairs = Pairs.from_arrays(user, item, np.ones(90), n_users=30)
    users, items = drawn(U, V, pairs, seed=0)
    assert len(V) <= POOL
    assert (np.bincount(users, minlength=30) == PER_PAIR * 3).all()
    for one in range(30):
        own, scores = item[user == one], U[one] @ V.T
        scores[own] = -np.inf
        top = np.argsort(-scores)[:10]  # 5% of the pool
        assert set(items[users == one]) <= set(top.tolist())
        assert len(set(items[users == one])) == PER_PAIR * 3
    npt.assert_array_equal(drawn(U, V, pairs, seed=0)[1], items)
    assert not np.array_equal(drawn(U, V, pairs, seed=1)[1], items)


def test_a_user_with_everything_has_no_negatives() -> None:
    user, item = (x.reshape(-1) for x in np.mgrid[:2, :20])
    pairs = Pairs.from_arrays(user[:25], item[:25], np.ones(25), n_users=2)
    users, items = drawn(np.ones((2, 3), np.float32), np.ones((20, 3), np.float32), pairs, seed=0)
    assert set(users.tolist()) == {1}
    assert items.min() >= 5


def test_negatives_are_pairs_of_target_0_in_the_normal_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solve_rows, "__defaults__", (20,))
    rng = np.random.default_rng(2)
    user, item = np.repeat(np.arange(6), 4), np.tile(np.arange(4), 6)
    pairs = Pairs.from_arrays(user, item, np.ones(24), n_users=6)
    squares = PairSquares(pairs, 8, CellWeight(0.1, 0.5), 0.1)
    harder = squares.with_negatives(iter([Negatives(0, np.array([0, 0, 3]), np.array([5, 6, 7]))]), 0.3)
    V = rng.normal(size=(8, 3)).astype(np.float32)
    nothing = np.zeros((6, 3), np.float32)
    found = harder.solve("users", np.append(V, np.zeros((8, 1), np.float32), axis=1), nothing, nothing)
    weights, targets = np.zeros((6, 8)), np.zeros((6, 8))
    weights[user, item], targets[user, item] = 1.0, 1.0
    weights[[0, 0, 3], [5, 6, 7]] = 0.3
    for one in range(6):
        A = (V.T * (weights[one] + 0.1 * 2.0)) @ V + squares.ridge["users"][one] * np.eye(3)
        npt.assert_allclose(found[one], np.linalg.solve(A, V.T @ (weights[one] * targets[one])), atol=1e-4)
    npt.assert_array_equal(squares.grouped["users"].label, 1.0)  # the first is as it was


class Lines(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_choice(self, *, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("settings", [{}, {"refit": False}, {"dim": 12}, {"max_dim": 16}])
def test_an_estimator_chooses_once_and_says_what(settings: dict[str, object]) -> None:
    said, train = Lines(), positives()
    model = tt.TwoTower(kind="linear", threads=1, **settings).fit(train, callbacks=[said])
    assert len(said.lines) == 1
    chosen = model.model.dim
    assert said.lines[0].startswith(f"chose dim {chosen}, regularisation ")
    assert chosen == 12 if "dim" in settings else chosen <= settings.get("max_dim", 512)
    fixed = tt.TwoTower(
        kind="linear",
        threads=1,
        dim=chosen,
        regularisation=model.objective.regularisation,
        hard_weight=model.objective.hard_weight,
        refit=settings.get("refit", True),
    )
    quiet = Lines()
    same = fixed.fit(train, callbacks=[quiet])
    assert not quiet.lines
    npt.assert_array_equal(same.users.vectors, model.users.vectors)


def test_few_users_choose_nothing() -> None:
    said = Lines()
    model = tt.TwoTower(kind="linear", threads=1).fit(positives(n_users=60), callbacks=[said])
    assert not said.lines
    assert (model.model.dim, model.objective.regularisation, model.objective.hard_weight) == (64, 0.33, 0.0)


class Break(Callback):
    def __init__(self, phase: str, epoch: int) -> None:
        self.at = phase, epoch

    def on_epoch_end(self, record: dict[str, object]) -> None:
        if (record["phase"], record["epoch"]) == self.at:
            raise RuntimeError("break")


@pytest.mark.parametrize("at", [("train", 2), ("refit", 1)])
@pytest.mark.parametrize("settings", [{}, {"hard_weight": 0.1}])
def test_a_choice_survives_a_break(tmp_path: Path, at: tuple[str, int], settings: dict[str, object]) -> None:
    estimator, train = tt.TwoTower(kind="linear", threads=1, max_dim=16, **settings), positives()
    unbroken = estimator.fit(train)
    with pytest.raises(RuntimeError, match="break"):
        estimator.fit(train, checkpoints=tmp_path, callbacks=[Break(*at)])
    said = Lines()
    resumed = estimator.fit(train, checkpoints=tmp_path, resume=True, callbacks=[said])
    # the checkpoint of an epoch is written after the callbacks, so the first break is before any refit's
    assert len(said.lines) == 0
    npt.assert_array_equal(resumed.users.vectors, unbroken.users.vectors)
    npt.assert_array_equal(resumed.items.vectors, unbroken.items.vectors)


def test_a_new_user_is_folded_in_near_to_the_same_user_trained() -> None:
    train = positives()
    model = tt.TwoTower(kind="linear", threads=1, dim=16, regularisation=0.33).fit(train)
    items = train.interactions.filter(pl.col("user_id") == 7)["item_id"].to_list()
    new = model.encode_queries([tt.Query(history=items)])[0]
    known = model.users.vectors[model.users.ids.to_list().index(7)]
    npt.assert_allclose(model.items.vectors @ new, model.items.vectors @ known, atol=0.02)
