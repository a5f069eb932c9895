"""What validation says of a model of labels: by hand, with weights and without."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset
from twotower.estimator import TwoTower
from twotower.estimator.setup import prepare
from twotower.evaluation.epochs import RatingEpochs
from twotower.targets.positive import PositiveRule

CPU = torch.device("cpu")
SCHEMA = {"label": "y", "weight": "w"}


class Fixed:
    """Stands for towers whose vectors are known: the score is the user's bias, whatever the item."""

    bias = (-0.5, 0.5)

    def encode(self, arrays: Any, which: str) -> torch.Tensor:
        vectors = torch.zeros(arrays.rows, 4)
        vectors[:, -2] = torch.tensor(self.bias) if which == "users" else 1.0
        return vectors


def judged(rows: list[tuple[int, int, float, float]], schema: dict[str, str] = SCHEMA) -> dict[str, float]:
    """Train labels are 1 and 5: of mean 3 and standard deviation 2, so users 1 and 2 are given 2 and 4."""
    train = Dataset.of(
        pl.DataFrame({"user_id": [1, 2], "item_id": [7, 8], "y": [1.0, 5.0], "w": [1.0, 1.0]}), schema=schema
    ).as_train()
    rule = PositiveRule.fit(train, PositiveConfig())
    estimator = TwoTower(dim=4, ensemble_size=1, objective="squared", seed=0)
    setup = prepare(estimator.settings, train, rule, CPU)
    assert (setup.target.mean, setup.target.sd) == (3.0, 2.0)
    columns = pl.DataFrame(rows, schema=["user_id", "item_id", "y", "w"], orient="row")
    validator = RatingEpochs(
        setup.tables, setup.target, setup.task.objective, Dataset.of(columns, schema=schema)
    )
    return validator(Fixed())  # type: ignore[arg-type]


def test_rows_count_by_their_weight() -> None:
    # The errors are 1 and 0, in standardised units 0.5 and 0; the second row counts three times as much.
    found = judged([(2, 8, 4.0, 3.0), (1, 7, 3.0, 1.0)])
    assert found == pytest.approx(
        {"validation_loss": 0.25 / 4, "validation_rmse": np.sqrt(1 / 4), "validation_mae": 1 / 4}
    )


@pytest.mark.parametrize("weights", [(0.0, 0.0), None])
def test_without_weights_that_say_anything_each_row_counts_once(weights: tuple[float, float] | None) -> None:
    schema = SCHEMA if weights else {"label": "y"}
    first, second = weights or (3.0, 1.0)
    found = judged([(2, 8, 4.0, first), (1, 7, 3.0, second)], schema)
    assert found == pytest.approx(
        {"validation_loss": 0.25 / 2, "validation_rmse": np.sqrt(1 / 2), "validation_mae": 1 / 2}
    )
