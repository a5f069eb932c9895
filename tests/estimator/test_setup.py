"""What ``all_pairs`` takes from its train pairs: the size of the noise, and the weight of each cell."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset
from twotower.estimator import TwoTower
from twotower.estimator.setup import TrainingSetup, carving_of, prepare
from twotower.objectives import AllPairs
from twotower.targets.positive import PositiveRule
from twotower.towers.auto import AutoConfig

N_USERS, N_ITEMS = 300, 200


def setup(density: float, **objective: float) -> tuple[TrainingSetup, np.ndarray]:
    """Pairs by chance alone, and their matrix."""
    taken = np.random.default_rng(0).random((N_USERS, N_ITEMS)) < density
    user, item = np.nonzero(taken)
    train = Dataset.of(pl.DataFrame({"user_id": user, "item_id": item}), schema={}).as_train()
    rule = PositiveRule.fit(train, PositiveConfig())
    made = prepare(TwoTower(kind="linear", seed=0, **objective).settings, train, rule, torch.device("cpu"))
    return made, taken.astype(np.float64)


@pytest.mark.parametrize("density", [0.05, 0.15])
def test_the_unit_of_regularisation_is_the_noise_of_chance(density: float) -> None:
    """The ridges' geometric mean at a regularisation of 1, beside the largest singular value of noise."""
    made, matrix = setup(density, regularisation=1.0)
    ridge = made.task.penalty * len(made.task.pairs) / np.sqrt(N_USERS * N_ITEMS)
    noise = matrix - matrix.mean(axis=0) - matrix.mean(axis=1, keepdims=True) + matrix.mean()
    npt.assert_allclose(ridge, np.linalg.norm(noise, 2), rtol=0.15)


def test_a_cell_weighs_what_was_asked_for_beside_an_interaction() -> None:
    made, _ = setup(0.1, unobserved_weight=0.3)
    assert isinstance(made.task.objective, AllPairs)
    counts = made.task.pairs.lists.lengths
    npt.assert_allclose(made.task.objective.cell_weight(counts, N_ITEMS).of(counts), 0.3, rtol=1e-6)


def test_all_cells_together_weigh_what_was_asked_for_beside_the_interactions() -> None:
    made, _ = setup(0.1, unobserved_mass=5.0)
    counts = made.task.pairs.lists.lengths
    each = made.task.objective.cell_weight(counts, N_ITEMS).of(counts)
    npt.assert_allclose(N_ITEMS * each.sum(), 5.0 * counts.sum(), rtol=1e-6)
    npt.assert_allclose(each / each[0], np.sqrt(counts / counts[0]), rtol=1e-6)


def test_validation_is_carved_by_time_where_a_user_has_more_than_one_interaction() -> None:
    events = pl.DataFrame({"user_id": [1, 1, 2], "item_id": [1, 2, 3], "time": [5, 6, 7]})
    model, schema = AutoConfig(), {"timestamp": "time"}
    assert carving_of(model, Dataset.of(events, schema=schema)) == "leave_last"
    assert carving_of(model, Dataset.of(events.tail(2), schema=schema)) == "random"
    assert carving_of(model, Dataset.of(events.drop("time"), schema={})) == "random"
