"""`State`: all that an answer is made from, as one value that is swapped and never changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.scoring import score_pairs
from twotower.recommender import Recommender
from twotower.server.catalogue import Catalogue, Trained
from twotower.server.ids import Ids
from twotower.towers.fold_in import FoldIn

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Long = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class State:
    """A model and its items at one moment. A request takes one at its start and uses no other.

    Attributes:
        recommender: the model.
        version: the first digits of its bundle's hash.
        users: the ids of the model's users.
        items: every item there is.
        loaded: when the model was loaded, seconds since 1970.
    """

    recommender: Recommender
    version: str
    users: Ids
    items: Catalogue
    loaded: float = field(default_factory=time.time)

    @classmethod
    def of(cls, recommender: Recommender, version: str) -> State:
        """Build from a model alone."""
        items = Catalogue(Trained.of(recommender))
        return cls(recommender, version, Ids.of("user", recommender.user_ids), items)

    def with_items(self, items: Catalogue) -> State:
        """Return the state with other items."""
        return State(self.recommender, self.version, self.users, items, self.loaded)

    @cached_property
    def folding(self) -> FoldIn:
        """What solves for user vectors, given every item there is; made on first use."""
        folding, vectors = self.recommender.folding, self.items.vectors
        return folding if vectors is None else folding.with_items(vectors)

    @cached_property
    def like(self) -> float | None:
        """A label that counts as a positive: what an event without one stands for. None without labels."""
        labels = self.recommender.seen_label
        if labels is None or not len(labels):
            return None
        least = self.recommender.positive.threshold
        if least is not None:
            labels = labels[labels >= least]
        return float(np.median(labels)) if len(labels) else least

    def targets(self, rows: Long, values: Sequence[float | None]) -> F64:
        """Return what scores of a user's items are drawn to, nan for by nothing.

        Args:
            rows: item rows (n,).
            values: the label of each; None for one of which only the interaction is known, a positive.
        """
        targets = np.full(len(rows), self.folding.settings.positive)
        given = np.array([value is not None for value in values], dtype=bool)
        if given.any():
            labels = np.array([value for value in values if value is not None], dtype=np.float64)
            found = self.recommender.targets(rows[given], labels, self.durations(rows[given]))
            assert found is not None
            targets[given] = found
        return targets

    def scores(self, users: F32, rows: Long) -> tuple[list[float], list[float]]:
        """Return scores and predictions, in the label's own units, of pairs of a vector and an item.

        Args:
            users: float32 (n, dim).
            rows: item rows (n,).
        """
        pairs = np.arange(len(rows))
        scores = score_pairs(users, self.items.vectors_of(rows), pairs, pairs)
        return scores.tolist(), self.recommender.target.inverse(scores, self.durations(rows)).tolist()

    def durations(self, rows: Long) -> F64 | None:
        """Return the durations of items, nan where not known; None for a model without any."""
        known = self.recommender.item_duration
        if known is None:
            return None
        first, live = self.items.n_trained, self.items.live
        return np.array([known[row] if row < first else live[row - first].duration for row in rows.tolist()])

    @property
    def ranks(self) -> bool:
        """Whether the model was trained to rank, and so predicts no label."""
        return self.recommender.objective.implicit

    def info(self) -> dict[str, Any]:
        """Return what the log says of a state."""
        found = {"model": self.version, "users": len(self.users.known), "items": len(self.items)}
        return found | ({} if self.ranks else {"note": "it predicts labels and was not trained to rank"})
