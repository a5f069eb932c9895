"""Scores or predictions of pairs of known users and items, as a table."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import as_series
from twotower.core.forking import check_process
from twotower.core.warn import warn
from twotower.errors import DataError, nearest
from twotower.kernels.scoring import score_pairs
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.parts import Catalogue


def score_table(
    pairs: pl.DataFrame, towers: FittedTowers, catalogue: Catalogue, *, ranks: bool, strict: bool
) -> pl.DataFrame:
    """Return the pairs with the model's output added; see `Recommender.score`.

    The column has ``model_`` before its name if an id column has that name.

    Args:
        pairs: with the id columns of the schema.
        towers: what turns scores into labels.
        catalogue: the users and items known, and durations that are used if the pairs have none.
        ranks: whether the model ranks, and so predicts no label.
        strict: whether a user or an item that is not known is an error.
    """
    check_process()
    schema, target = towers.encoder.schema, towers.target
    name = "score" if ranks else "prediction"
    name = f"model_{name}" if name in (schema.user, schema.item) else name
    for column in (schema.user, schema.item):
        if column not in pairs.columns:
            raise DataError(
                f"pairs need a column {column!r}; got {', '.join(pairs.columns)}."
                f"{nearest(column, pairs.columns)}"
            )
    if name in pairs.columns:
        raise DataError(f"pairs must not have a column {name!r}, which score adds; drop it or rename it")
    rows = {}
    for entities, column, what in (
        (catalogue.users, schema.user, "user"),
        (catalogue.items, schema.item, "item"),
    ):
        ids = as_series(pairs.get_column(column), f"{what}s")
        rows[what] = entities.known_rows(ids, what) if strict else entities.rows(ids)
    known = (rows["user"] >= 0) & (rows["item"] >= 0)
    if not known.all():
        unknown = {what: int((of < 0).sum()) for what, of in rows.items()}
        warn(
            f"{int((~known).sum()):,} of {len(known):,} pairs have no {name}: the user of "
            f"{unknown['user']:,} and the item of {unknown['item']:,} are not known"
        )
    user, item = rows["user"][known], rows["item"][known]
    scores = score_pairs(catalogue.users.vectors, catalogue.items.vectors, user, item)
    is_known = pl.Series(known, dtype=pl.Boolean)
    duration: NDArray[np.float64] | None = None
    if target.transform.needs_duration:
        if schema.duration is not None and schema.duration in pairs.columns:
            own = pairs.get_column(schema.duration).filter(is_known)
            duration = own.cast(pl.Float64).fill_null(np.nan).to_numpy()
        elif catalogue.item_duration is not None:
            duration = catalogue.item_duration[item]
        else:
            raise DataError(f"pairs need the column {schema.duration!r}: the label was debiased by it")
    values = np.full(len(known), np.nan)
    values[known] = target.inverse(scores, duration)
    # null for unknown ids; nan is a value that is undefined
    return pairs.with_columns(pl.Series(name, values).zip_with(is_known, pl.Series([None], dtype=pl.Float64)))
