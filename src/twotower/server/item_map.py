"""The map: items on the plane of the two principal components of their vectors, coloured by category."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.server.catalogue import MAPPED, Trained
from twotower.server.state import State

_COLOURS = 60
"""A column with more distinct values than this is not used for colours."""


def category_column(items: Trained) -> str | None:
    """Return the display column to colour by: the first text column of 2 to 60 values, if any."""
    for name, dtype in items.types.items():
        if dtype == pl.String:
            distinct = {value for value in items.display[name] if value is not None}
            if 2 <= len(distinct) <= _COLOURS and 4 * len(distinct) <= len(items.display[name]):
                return name
    return None


def item_map(items: Trained) -> dict[str, Any]:
    """Return the map, a `MapAnswer`."""
    n = len(items.ids)
    every = max(1, -(-n // MAPPED))
    rows = range(0, n, every)
    points, beyond = items.plane.place(items.recommender.item_directions[::every])
    points = points.round(4)
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
        "total": n,
        "every": every,
        "explained": [share if np.isfinite(share) else None for share in items.plane.explained],
        "items": [items.ids.known[row] for row in rows],
        "titles": [_title(items, first, row) for row in rows],
        "x": points[:, 0].tolist(),
        "y": points[:, 1].tolist(),
        "category": [places.get(value, -1) for value in values],
        "beyond": np.flatnonzero(beyond).tolist(),
    }


def places(state: State, rows: Sequence[int], vector: NDArray[np.float32] | None) -> dict[str, Any]:
    """Return where some items and a user lie on the map, a `PlacesAnswer`.

    Args:
        state: to answer from.
        rows: of the items.
        vector: float32 (dim,) of the user; None for no user.
    """
    items, own = state.items, state.recommender
    plane = items.trained.plane

    def placed(vectors: NDArray[np.float32]) -> list[dict[str, Any]]:
        if not len(vectors):
            return []
        at, beyond = plane.place(own.directions(vectors))
        points = zip(at.round(4).tolist(), beyond.tolist(), strict=True)
        return [{"x": x, "y": y, "beyond": out} for (x, y), out in points]

    found = placed(items.vectors_of(np.array(rows, dtype=np.int64)))
    return {
        "items": [{"item_id": items.id(row), **place} for row, place in zip(rows, found, strict=True)],
        "user": None if vector is None else placed(vector[None])[0],
    }


def _title(items: Trained, column: str | None, row: int) -> str:
    value = None if column is None else items.display[column][row]
    return str(items.ids.known[row] if value is None or value == "" else value)[:80]
