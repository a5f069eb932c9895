"""counts: how often an item was taken and a user acted, up to the time of the query and no later."""

from __future__ import annotations

import numpy as np

from twotower.ranking.columns import Feature
from twotower.ranking.groups.group import DAY, F32, FeatureGroup
from twotower.ranking.kernels import counts
from twotower.ranking.known import Batch, Known

WINDOWS = (1.0, 7.0, 30.0)
"""Days."""
_ITEM = ("item_count", "item_mean_grade", "item_age", "item_since_last")
_USER = ("user_count", "user_mean_grade", "user_since_last")


class Counts(FeatureGroup):
    """Counts of items are relative to that of an item with an average share of what happened."""

    @staticmethod
    def features(known: Known) -> list[Feature]:
        """Return counts and grades; with times also ages and counts of the last days."""
        timed = np.isfinite(known.past.end)
        items = [*_ITEM, *(f"item_count_{days:g}d" for days in WINDOWS)]
        return [
            Feature(name) for name in [*(items if timed else items[:2]), *(_USER if timed else _USER[:2])]
        ]

    @staticmethod
    def fill(batch: Batch, out: F32) -> None:
        """Write them; a query that says when it is asked counts what was strictly before."""
        past, timed = batch.known.past, np.isfinite(batch.known.past.end)
        windows = np.array(WINDOWS if timed else ()) * DAY
        made = np.empty((len(batch.item), 4 + len(windows)), np.float32)
        scale = max(len(past.lists.values) / max(past.n_items, 1), 1e-9)
        counts(*past.of_items, batch.owner, batch.item, batch.at, batch.now, windows, scale, made)
        width = made.shape[1] if timed else 2
        out[:, :width] = made[:, :width]
        history = batch.history
        out[:, width] = history.count[batch.owner]
        out[:, width + 1] = history.mean[batch.owner]
        if timed:
            out[:, width + 2] = (batch.now - history.last).astype(np.float32)[batch.owner]
