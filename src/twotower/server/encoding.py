"""Vectors of users and items that the model does not know, from features as they come in JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.errors import TwoTowerError
from twotower.recommender import Recommender
from twotower.server.errors import ApiError


def encoded_features(
    recommender: Recommender, which: str, rows: Sequence[Mapping[str, Any]], where: Sequence[str]
) -> NDArray[np.float32]:
    """Return the vectors float32 (n, dim) of new users or items.

    Args:
        recommender: the model.
        which: "users" or "items".
        rows: the features of each.
        where: the place of each in the request.

    Raises:
        ApiError: a column that is not a feature, or a value that is not of its kind; of the first such row.
    """
    try:
        return recommender.towers.encode_rows(rows, which)
    except (TwoTowerError, ValueError, TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        if len(rows) > 1:  # halves find the row that is wrong soon
            half = len(rows) // 2
            parts = ((rows[:half], where[:half]), (rows[half:], where[half:]))
            return np.concatenate([encoded_features(recommender, which, *part) for part in parts])
        message = (
            str(error)
            if isinstance(error, TwoTowerError)
            else "each column must be a plain value or a list of values of one kind"
        )
        raise ApiError(422, message, where[0]) from None
