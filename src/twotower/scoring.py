"""Predictions of pairs of known users and items, as a table."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.errors import DataError, nearest
from twotower.features.target import Target
from twotower.objectives import score_pairs
from twotower.schema import Schema
from twotower.side import Side


def scored(
    pairs: pl.DataFrame,
    schema: Schema,
    users: Side,
    items: Side,
    target: Target,
    item_duration: NDArray[np.float64] | None,
) -> pl.DataFrame:
    """Return the pairs with a column ``prediction``; see `Recommender.score`.

    Args:
        pairs: with the id columns of the schema.
        schema: of the data.
        users: every user known.
        items: the catalogue.
        target: the way from scores to the label's units.
        item_duration: float64 (items,), where the pairs have no duration of their own.
    """
    for column in (schema.user, schema.item):
        if column not in pairs.columns:
            raise DataError(
                f"pairs need a column {column!r}; got {', '.join(pairs.columns)}."
                f"{nearest(column, pairs.columns)}"
            )
    user = users.known(pairs.get_column(schema.user), "user")
    item = items.known(pairs.get_column(schema.item), "item")
    duration = None
    if target.transform.needs_duration:
        if schema.duration is not None and schema.duration in pairs.columns:
            duration = pairs.get_column(schema.duration).cast(pl.Float64).fill_null(np.nan).to_numpy()
        elif item_duration is not None:
            duration = item_duration[item]
        else:
            raise DataError(f"pairs need the column {schema.duration!r}: the label was debiased by it")
    scores = score_pairs(users.vectors, items.vectors, user, item)
    return pairs.with_columns(pl.Series("prediction", target.inverse(scores, duration)))
