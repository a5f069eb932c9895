"""`Drift`: how far the events that come in are from what the model was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from twotower.recommender.drift import DriftReference, distance
from twotower.server.state import State
from twotower.server.store import Event

HALF = 10_000
"""Events after which earlier ones count half."""


class Drift:
    """Counts interactions by label, popularity of the item, and whether the model knows the user.

    Counting starts again with each model.
    """

    def __init__(self) -> None:
        self._reference: DriftReference | None = None

    def saw(self, state: State, events: Sequence[Event]) -> None:
        """Count events that were stored."""
        reference = self._reference
        if reference is None or reference.model is not state.recommender:
            self._reference = reference = DriftReference(state.recommender)
            self._labels = np.zeros(len(reference.edges) + 1)
            self._items = np.zeros(len(reference.item_shares))
            self._users = np.zeros(2)
        happened = [event for event in events if event.kind == "interaction"]
        if not happened:
            return
        fade = 0.5 ** (len(happened) / HALF)
        ids, users = state.items.trained.ids, state.users
        rows = [ids.index.get(ids.native(event.item), -1) for event in happened]
        labels = [np.nan if event.value is None else event.value for event in happened]
        new = sum(users.native(event.user) not in users.index for event in happened)
        self._items = self._items * fade + reference.item_counts(rows)
        self._labels = self._labels * fade + reference.label_counts(labels)
        self._users = self._users * fade + np.array([new, len(happened) - new])

    def values(self) -> dict[str, float]:
        """Return the measures that there are so far; see `DriftReference.of`."""
        reference = self._reference
        if reference is None or not self._users.sum():
            return {}
        found = {
            "item_popularity": distance(self._items, reference.item_shares),
            "new_users": float(self._users[0] / self._users.sum()),
        }
        if reference.label_shares is not None:
            found["label"] = distance(self._labels, reference.label_shares)
        return {name: value for name, value in found.items() if value is not None}
