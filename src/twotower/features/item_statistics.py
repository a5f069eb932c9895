"""`ItemStatistics`: what is known of items on the day of a query, and nothing later."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import FeatureKind
from twotower.config.schema import Schema
from twotower.core.blocks import Dense
from twotower.core.reprs import ShortRepr
from twotower.core.vocabulary import Vocabulary
from twotower.data.daily import KNOWN, VALUE
from twotower.data.dataset import Dataset

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.int64]
DAY = 86_400.0
AGES = (1.0, 3.0, 7.0, 30.0, 90.0, 365.0)
"""Days that an item's age is measured by: a column for each says how much of the way to it has passed."""
MOST_DAYS, MOST_CELLS = 128, 1 << 27
"""Most points in time at which counts are kept; with a longer time or more items they lie further apart."""


@dataclass(frozen=True, eq=False, repr=False)
class ItemStatistics(ShortRepr):
    """How often items were had lately, their values of the day before, and their age, at some points in time.

    A query reads those of the last midnight (UTC) among the points that is not after it; they say what was
    strictly before. The last point is the end of the training set: what an index is built with.

    Attributes:
        points: float64 (n,) seconds, ascending.
        values: float32 (n, n_items, windows + 2 daily columns); see `of`.
        born: float64 (n_items,) seconds, nan where unknown; None if ages are not read.
    """

    points: F64
    values: F32
    born: F64 | None

    @classmethod
    def of(cls, events: Dataset, items: pl.DataFrame, ids: Vocabulary) -> ItemStatistics | None:
        """Count the interactions of a training set; None if the schema asks for no statistics.

        A count c of a window, among N in all, is ``log(1 + c n_items / N)``: 0 for none, log 2 for as many
        as items have on average. A daily column is two: its last value of a day before the point,
        standardised, and whether there is one.

        Args:
            events: what is counted.
            items: the table of items, a row each in the order of ``ids``.
            ids: of all items, n_items.
        """
        schema = events.schema
        width = statistics_width(schema)
        if not width:
            return None
        times, row = events.times(), ids.rows(events.interactions.get_column(schema.item))
        known = np.flatnonzero(np.isfinite(times) & (row >= 0))
        known = known[np.argsort(times[known], kind="stable")]
        times, row = times[known], row[known]
        born = None
        if schema.item_age is not None:
            born = items.get_column(schema.item_age).cast(pl.Float64).fill_null(np.nan).to_numpy()
        points, n, windows = np.array([-np.inf]), len(ids), schema.recent_days
        if len(times):
            most = max(min(MOST_DAYS, MOST_CELLS // (n * width)), 2)
            first, last = np.floor(times[[0, -1]] / DAY)
            step = max(np.ceil((last - first + 1) / most), 1.0)
            end = np.nextafter(times[-1], np.inf)
            points = np.append(np.arange(first, last + 1, step) * DAY, end)
        counts = np.zeros((len(points), n, len(windows)), np.float32)
        daily = [_daily(items.get_column(name), kind, points) for name, kind in schema.daily.items()]
        for place, days in enumerate(windows):
            low, high = np.searchsorted(times, points - days * DAY), np.searchsorted(times, points)
            for point, (start, stop) in enumerate(zip(low, high, strict=True)):
                found = np.bincount(row[start:stop], minlength=n)
                counts[point, :, place] = np.log1p(found * (n / max(stop - start, 1)))
        return cls(points, np.concatenate([counts, *daily], axis=2), born)

    def before(self, times: F64) -> Rows:
        """Return the point of each of n times, int64; for nan the first one, before all events."""
        found: Rows = np.searchsorted(self.points[:-1], times, side="right") - 1
        return np.where(np.isnan(times), 0, np.maximum(found, 0))

    def at(self, points: Rows, items: Rows | None = None) -> F32:
        """Return the statistics of items, None for all, at points: float32 (points, items, width)."""
        rows = np.arange(self.values.shape[1]) if items is None else items
        parts = [self.values[points[:, None], rows]]
        if self.born is not None:
            age = (self.points[points][:, None] - self.born[rows]) / DAY  # (points, items)
            passed = np.log1p(np.maximum(age, 0.0))[:, :, None]
            ends = np.log1p(np.append(0.0, AGES))
            share = np.clip((passed - ends[:-1]) / (ends[1:] - ends[:-1]), 0.0, 1.0)
            parts.append(np.where(np.isnan(share), 0.0, share).astype(np.float32))
        return np.concatenate(parts, axis=2)

    @property
    def now(self) -> F32:
        """The statistics at the end of the training set, float32 (n_items, width)."""
        found: F32 = self.at(np.array([len(self.points) - 1]))[0]
        return found

    def take(self, rows: Rows) -> ItemStatistics:
        """Return those of some items."""
        born = None if self.born is None else self.born[rows]
        return replace(self, values=self.values[:, rows], born=born)


def statistics_width(schema: Schema) -> int:
    """Return the number of statistics of an item."""
    return len(schema.recent_days) + 2 * len(schema.daily) + (0 if schema.item_age is None else len(AGES))


def _daily(column: pl.Series, kind: FeatureKind, points: F64) -> F32:
    """Return the last value that was known of each item at points, and whether there is one, (points, n, 2).

    The values are standardised by those that were known at the last point.
    """
    found = np.zeros((len(points), len(column), 2), np.float32)
    each = column.to_frame("list").with_row_index("row").explode("list").unnest("list").drop_nulls()
    each = each.filter(pl.col(KNOWN) <= points[-1]).sort(KNOWN, maintain_order=True)
    if not each.height:
        return found
    row, values = each.get_column("row").to_numpy(), each.get_column(VALUE)
    block = kind.fit(values).transform(values)
    assert isinstance(block, Dense)
    ends = np.searchsorted(each.get_column(KNOWN).to_numpy(), points, side="right")
    now = found[0].copy()
    for place, (start, stop) in enumerate(zip(np.append(0, ends[:-1]), ends, strict=True)):
        now[row[start:stop], 0] = block.values[start:stop, 0]  # of one item the last
        now[row[start:stop], 1] = 1.0
        found[place] = now
    return found
