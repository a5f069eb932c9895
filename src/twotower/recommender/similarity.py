"""Items and users by their vectors: the nearest ones, who has an item, and the vectors as a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Ids
from twotower.core.forking import check_process
from twotower.core.lists import Lists
from twotower.recommender.histories import Rows
from twotower.recommender.listing import free_name
from twotower.recommender.query_encoder import Encoded, itself
from twotower.recommender.side import Side
from twotower.retrieval import TopK, exact_top_k

F32 = NDArray[np.float32]


def nearest(asked: Encoded, own: F32, others: F32, k: int, filters: dict[str, Any]) -> TopK:
    """Return the ``k`` of highest cosine for each, without itself.

    Args:
        asked: the users or items asked about.
        own: float32 (n, width), their directions.
        others: float32 (m, width), the directions of all that are known, in the order of their rows.
        k: at least 1.
        filters: ``allow`` and ``deny``, as for `exact_top_k`.
    """
    return exact_top_k(own, others, k, seen=itself(asked), **filters)


def users_of(seen: Lists, items: Rows) -> Lists:
    """Return the rows of the users who have each item, an empty list for an item of row -1.

    >>> users_of(Lists.from_groups([[5, 7], [7]]), np.array([7, -1, 5]))
    Lists([[0, 1], [], [0]])
    """
    distinct, place = np.unique(items, return_inverse=True)
    at = np.flatnonzero(np.isin(seen.values, distinct))
    which = np.searchsorted(distinct, seen.values[at])
    users = (np.searchsorted(seen.indptr, at, side="right") - 1).astype(np.int32)
    return Lists.from_arrays(which, users, len(distinct)).of(place)


def vector_table(side: Side, column: str, what: str, ids: Ids | None) -> pl.DataFrame:
    """Return ids and vectors of users or items; see `Recommender.user_vectors`."""
    check_process()
    rows = np.arange(len(side.ids)) if ids is None else side.known(ids, what)
    name = free_name("vector", (column,), f"{what}_")
    dtype = pl.Array(pl.Float32, side.vectors.shape[1])
    return pl.DataFrame({column: side.ids.gather(rows), name: pl.Series(side.vectors[rows], dtype=dtype)})
