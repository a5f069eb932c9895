"""The map: items on the plane of the two principal components of their vectors, coloured by category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from twotower.core.colours import CATEGORIES
from twotower.core.vocabulary import rows_of_ids
from twotower.recommender import Recommender
from twotower.recommender.plane import plane
from twotower.report.people import Names
from twotower.report.wording import shown

MOST = 3_000
"""Items on the map; of a larger catalogue, every n-th."""
_DISTINCT = 60
_SIZE = 400
_EDGE = 8
_TITLE = 60


@dataclass(frozen=True)
class Point:
    """An item on the map.

    Attributes:
        x: within `ItemMap.size`.
        y: the same, downwards.
        r: its radius, by its number of interactions.
        colour: place of its category among those that have a colour, -1 for the others.
        title: its name and category.
        beyond: whether it lies further out, and was moved to the edge.
    """

    x: float
    y: float
    r: float
    colour: int
    title: str
    beyond: bool


@dataclass(frozen=True)
class ItemMap:
    """The map.

    Attributes:
        points: the small ones last, so that they are drawn on top.
        column: the column of the categories; None without one.
        categories: those that have a colour, each with its number of items on the map.
        others: items of other categories, or of none.
        explained: share of the variance of the vectors that the map shows.
        every: 1 if all items are drawn, n if every n-th is.
        total: items of the model.
        size: width and height.
    """

    points: tuple[Point, ...]
    column: str | None
    categories: tuple[tuple[str, int], ...]
    others: int
    explained: float
    every: int
    total: int
    size: int = _SIZE

    @property
    def beyond(self) -> int:
        """Number of items that lie further out than the map, and are drawn at its edge."""
        return sum(point.beyond for point in self.points)


def map_of(recommender: Recommender, items: pl.DataFrame) -> ItemMap | None:
    """Draw the items of a recommender; ``items`` is their table. None of fewer than three items."""
    side = recommender.items
    if len(side.ids) < 3:
        return None
    every = -(-len(side.ids) // MOST)
    rows = np.arange(0, len(side.ids), every)
    directions = recommender.directions(side.vectors)[rows]
    found = plane(directions)
    places, beyond = found.place(directions)
    column, values = _category(recommender, items, rows)
    counts = Counter(value for value in values if value is not None)
    coloured = sorted(counts, key=lambda value: (-counts[value], value))[:CATEGORIES]
    colours = {value: place for place, value in enumerate(coloured)}
    seen = np.bincount(recommender.seen.values, minlength=len(side.ids))[rows]
    radius = 1.4 + 3.0 * np.sqrt(seen / max(int(seen.max()), 1))
    at = _EDGE + (places * [1, -1] + 1) / 2 * (_SIZE - 2 * _EDGE)
    names = Names(recommender)
    points = []
    for n in np.argsort(-radius, kind="stable"):
        value = values[n]
        item = names.of_row(int(rows[n]))
        title = item.title[:_TITLE] if item.title == item.id else f"{item.title[:_TITLE]} #{item.id}"
        points.append(
            Point(
                round(float(at[n, 0]), 1),
                round(float(at[n, 1]), 1),
                round(float(radius[n]), 1),
                colours.get(value, -1) if value is not None else -1,
                title if value is None else f"{title} ({value})",
                bool(beyond[n]),
            )
        )
    return ItemMap(
        tuple(points),
        column,
        tuple((value, counts[value]) for value in coloured),
        len(rows) - sum(counts[value] for value in coloured),
        sum(found.explained),
        every,
        len(side.ids),
    )


def _category(
    recommender: Recommender, items: pl.DataFrame, rows: np.ndarray[Any, np.dtype[np.int64]]
) -> tuple[str | None, Sequence[str | None]]:
    """Return the first column that colours can tell apart, and its values in the rows of the map."""
    for name, values in _columns(recommender, items):
        distinct = {value for value in values if value is not None}
        if 2 <= len(distinct) <= _DISTINCT and 4 * len(distinct) <= len(values):
            return name, [values[row] for row in rows]
    return None, [None] * len(rows)


def _columns(recommender: Recommender, items: pl.DataFrame) -> Iterator[tuple[str, list[str | None]]]:
    """Yield display columns of text, then categories, then the first of lists of categories, as text."""
    schema = recommender.encoder.schema
    display = recommender.display
    for name in display.columns:
        if name != schema.item and display.schema[name] == pl.String:
            yield name, [None if v is None else shown(v) for v in display[name]]
    aligned = rows_of_ids(items, schema.item, recommender.items.ids)
    tags = [name for name, kind in schema.items.items() if kind.meaning == "tags"]
    for name in sorted(tags, key=lambda column: isinstance(aligned.schema[column], pl.List)):
        values = schema.items[name].grouped(aligned[name])
        if values is not None:
            yield name, [None if v is None else shown(v) for v in values]
