"""The map: item vectors in the plane of their two principal components, coloured by a display column."""

from __future__ import annotations

from typing import Any

import polars as pl

from twotower.projecting import plane
from twotower.server.catalogue import Trained

MOST = 5_000
"""Items on the map; of more, every n-th."""
_COLOURS = 60
"""Most distinct values of a column that colours can tell apart at all."""


def category_column(items: Trained) -> str | None:
    """Return the display column to colour by: the first text column of 2 to 60 values, if any."""
    for name, dtype in items.types.items():
        if dtype == pl.String:
            distinct = {value for value in items.display[name] if value is not None}
            if 2 <= len(distinct) <= _COLOURS and 4 * len(distinct) <= len(items.display[name]):
                return name
    return None


def item_map(items: Trained) -> dict[str, Any]:
    """Return the map as `models.MapAnswer` says; coordinates within -1 and 1."""
    step = -(-len(items.ids.known) // MOST) or 1
    rows = range(0, len(items.ids.known), step)
    points = plane(items.directions[::step]).points.round(4)
    column = category_column(items)
    values: list[Any] = [None] * len(rows)
    if column is not None:
        values = [items.display[column][row] for row in rows]
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    categories = sorted(counts, key=lambda value: (-counts[value], value))
    places = {value: place for place, value in enumerate(categories)}
    first = next(iter(items.display), None)
    return {
        "column": column,
        "categories": categories,
        "items": [items.ids.known[row] for row in rows],
        "titles": [_title(items, first, row) for row in rows],
        "x": points[:, 0].tolist(),
        "y": points[:, 1].tolist(),
        "category": [places.get(value, -1) for value in values],
    }


def _title(items: Trained, column: str | None, row: int) -> str:
    value = None if column is None else items.display[column][row]
    return str(items.ids.known[row] if value is None else value)[:80]
