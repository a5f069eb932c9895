"""Slices of test rows by how hard they are: cold or warm, popular or rare, short or long."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset, Side
from twotower.data.durations import duration_quantiles, durations

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Slice:
    """Some rows of a test set.

    Attributes:
        where: (n,) true for the rows of the slice; at least one.
        bounds: least and greatest train count (of popularity bands) or duration (of duration bands) among its
            rows; None for other slices.
    """

    where: NDArray[np.bool_]
    bounds: tuple[float, float] | None = None


Slices = dict[str, dict[str, Slice]]


def slices_of(test: Dataset, train: Dataset) -> Slices:
    """Slice the rows of ``test`` by their training rows; slices without rows are left out.

    ==================== =================================================================================
    ``user``, ``item``   ``warm`` and ``cold``: with and without train interactions
    ``user_activity``    the rows' warm users in thirds by their number of training rows: ``low``, ``middle``,
                         ``high``; users of equal counts stay together
    ``item_popularity``  ``cold``, then by the item's number of training rows ``tail``, ``middle``, ``head``:
                         the head are the most popular items that together hold a third of the train rows,
                         the middle those that hold the next third; items of equal counts stay together
    ``item_duration``    ``q1`` (shortest) to ``q4``, cut at the quartiles of the train rows' durations, and
                         ``unknown``; only with a ``schema.duration`` that train knows values of
    ==================== =================================================================================
    """
    schema = train.schema
    with ThreadPoolExecutor(3) as pool:
        counting = [pool.submit(_Counts.of, train, side) for side in get_args(Side)]
        duration = pool.submit(_duration, test, train)
        of_users, of_items = (job.result() for job in counting)
    users, items = of_users.of_rows(test), of_items.of_rows(test)
    slices = {
        "user": _non_empty({"warm": users > 0, "cold": users == 0}),
        "user_activity": _activity(users, test.interactions.get_column(schema.user)),
        "item": _non_empty({"warm": items > 0, "cold": items == 0}),
        "item_popularity": _popularity(items, of_items.count),
        "item_duration": duration.result(),
    }
    return {group: members for group, members in slices.items() if members}


@dataclass(frozen=True)
class _Counts:
    """The number of training rows of each user or item that has any.

    Attributes:
        column: of the ids.
        ids: of those with training rows.
        count: (n_ids,) training rows of each.
    """

    column: str
    ids: Vocabulary
    count: IntArray

    @classmethod
    def of(cls, train: Dataset, side: Side) -> _Counts:
        counted, schema = train.counts(side), train.schema
        column = schema.user if side == "user" else schema.item
        return cls(column, Vocabulary(counted["id"]), counted["count"].to_numpy().astype(np.int64))

    def of_rows(self, test: Dataset) -> IntArray:
        """Return the number of training rows (n,) of each test row's user or item."""
        return self.ids.take(self.count, test.interactions.get_column(self.column), 0)


def _popularity(counts: IntArray, per_item: IntArray) -> dict[str, Slice]:
    """Cut rows with items of ``counts`` (n,) train rows, ``per_item`` (n_items,) being all items' counts."""
    sizes = np.bincount(per_item)  # (most + 1,) items of each count
    held = sizes * np.arange(len(sizes))  # (most + 1,) train rows of the items of each count
    above = held[::-1].cumsum()[::-1] - held  # (most + 1,) train rows of all more popular items
    third = held.sum() / 3.0
    band = 3 - (above >= third).astype(np.int64) - (above >= 2.0 * third)  # (most + 1,) 3 for the head
    band[0] = 0
    row_band = band[counts]  # (n,)
    names = ("cold", "tail", "middle", "head")
    return _non_empty({name: row_band == i for i, name in enumerate(names)}, counts.astype(np.float64))


def _activity(counts: IntArray, users: pl.Series) -> dict[str, Slice]:
    """Cut rows of users with ``counts`` (n,) train rows into thirds of the warm users, each counted once."""
    once = counts[users.is_first_distinct().to_numpy()]
    if not once.any():
        return {}
    edges = np.quantile(once[once > 0], [1 / 3, 2 / 3])
    band = np.where(counts > 0, np.searchsorted(edges, counts), -1)  # (n,); an edge is in the lower
    names = ("low", "middle", "high")
    return _non_empty({name: band == i for i, name in enumerate(names)}, counts.astype(np.float64))


def _duration(test: Dataset, train: Dataset) -> dict[str, Slice]:
    of_test = durations(test)
    if of_test is None:
        return {}
    edges = duration_quantiles(train, np.array([0.25, 0.5, 0.75]))
    if np.isnan(edges).any():
        return {}
    row_band = np.where(
        np.isnan(of_test), 4, np.searchsorted(edges, of_test)
    )  # (n,); an edge is in the lower
    names = ("q1", "q2", "q3", "q4")
    bands = _non_empty({name: row_band == i for i, name in enumerate(names)}, of_test)
    return bands | _non_empty({"unknown": row_band == 4})


def _non_empty(masks: dict[str, NDArray[np.bool_]], values: FloatArray | None = None) -> dict[str, Slice]:
    """Make a slice of each mask (n,) that has rows, with the bounds of ``values`` (n,) there."""
    slices = {}
    for name, where in masks.items():
        if where.any():
            inside = None if values is None else values[where]
            bounds = None if inside is None else (float(inside.min()), float(inside.max()))
            slices[name] = Slice(where, bounds)
    return slices
