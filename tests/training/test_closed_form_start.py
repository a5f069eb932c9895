"""Towers that rank by gradients start at the closed form: where, with what, and for whom not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.estimator import TwoTower
from twotower.estimator.setup import TrainingSetup, prepare
from twotower.objectives import AllPairs, Softmax
from twotower.targets.positive import PositiveRule
from twotower.training import CallbackList
from twotower.training.closed_form.linear_als import LinearALS

SCALE, N_USERS, N_ITEMS = 12.0, 60, 30
CPU = torch.device("cpu")


def tastes() -> TrainPart:
    """Ratings of users of two tastes, which a column of either side tells."""
    user, item = np.nonzero(np.random.default_rng(0).random((N_USERS, N_ITEMS)) < 0.4)
    stars = np.where(user % 2 == item % 2, 5.0, 1.0)
    table = pl.DataFrame({"user_id": user, "item_id": item, "stars": stars, "time": np.arange(len(user))})
    sides = {
        name: pl.DataFrame({f"{name[:-1]}_id": np.arange(n), "taste": [str(one % 2) for one in range(n)]})
        for name, n in (("users", N_USERS), ("items", N_ITEMS))
    }
    schema = {"label": "stars", "users": {"taste": "category"}, "items": {"taste": "category"}}
    return Dataset.of(table, **sides, schema=schema).as_train()


def made(**settings: object) -> TrainingSetup:
    train = tastes()
    rule = PositiveRule.fit(train, PositiveConfig(threshold=4.0))
    return prepare(TwoTower(seed=0, positive=4.0, **settings).settings, train, rule, CPU)


def scores(setup: TrainingSetup) -> np.ndarray:
    task = setup.task
    return (task.model.encode(task.users, "users") @ task.model.encode(task.items, "items").T).numpy()


@pytest.fixture(scope="module")
def solved() -> np.ndarray:
    """The scores of seven rounds of the closed form."""
    setup = made(kind="linear", dim=16)
    assert isinstance(setup.trainer, LinearALS)
    for number in range(1, 8):
        setup.trainer.epoch(number, CallbackList([]))
    return scores(setup)


@pytest.mark.parametrize(("kind", "objective"), [("linear", "softmax"), ("mlp", "bpr")])
def test_scores_are_those_of_the_closed_form_at_the_size_of_logits(
    kind: str, objective: str, solved: np.ndarray
) -> None:
    started = made(kind=kind, objective=objective, dim=16)
    npt.assert_allclose(scores(started), SCALE * solved, atol=2e-3)


def test_it_is_wider_where_dim_is_auto() -> None:
    assert made(objective="softmax").task.model.dim == 128
    assert made(objective="softmax", max_dim=32).task.model.dim == 32


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_features_alone_know_the_tastes(kind: str) -> None:
    task = made(kind=kind, objective="softmax", dim=16).task
    task.model.eval()
    cold = replace(task.items, warm=torch.zeros_like(task.items.warm))
    with torch.no_grad():
        found = (task.model.user_vectors(task.users) @ task.model.item_vectors(cold).T).numpy()
    alike = np.add.outer(np.arange(N_USERS), np.arange(N_ITEMS)) % 2 == 0
    assert found[alike].mean() > 1.5 * found[~alike].mean() > 0


def test_a_dislike_weighs_a_25th_of_what_is_liked_most() -> None:
    pairs = made(objective="softmax", dim=16).task.pairs
    low, high = np.unique(pairs.label)
    U, V = torch.randn(N_USERS, 4), torch.randn(N_ITEMS, 4)
    graded = Softmax()(U, V, pairs)
    weights = np.where(pairs.label == low, (low / high) ** 2, 1.0).astype(np.float32)
    by_weight = Softmax()(U, V, replace(pairs, label=np.ones_like(pairs.label), weight=weights))
    assert graded.loss == pytest.approx(by_weight.loss, rel=1e-6)
    npt.assert_allclose(graded.dV, by_weight.dV, atol=1e-7)
    assert len(pairs) == len(tastes())


def test_without_grades_positives_alone_are_learned() -> None:
    train = tastes().interactions
    pairs = made(objective="softmax", dim=16, min_grade=None).task.pairs
    assert len(pairs) == train.filter(pl.col("stars") == 5.0).height
    assert set(pairs.label) == {1.0}


def test_cosines_start_at_random() -> None:
    started = made(kind="linear", objective="softmax", dim=16, normalise=True)
    assert not started.task.model.items.table.any()
    assert started.trainer.rate(1) == 0.005
    assert made(kind="linear", objective="softmax", dim=16).trainer.rate(1) == 0.0005


def test_all_pairs_does_not_start_there() -> None:
    started = made(kind="mlp", objective="all_pairs", dim=16)
    assert isinstance(started.task.objective, AllPairs)
    assert abs(started.task.model.items.ids.weight).max() < 1.0
