"""`State`: what answers are made from, an immutable value that is replaced as a whole."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.scoring import score_pairs
from twotower.recommender import Recommender
from twotower.recommender.parts import EntityVectors
from twotower.recommender.query_encoder import QueryEncoder
from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.recommender.usual_label import usual_label
from twotower.server.catalogue import Catalogue, Trained
from twotower.towers import SideArrays

F32 = NDArray[np.float32]
Long = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class State:
    """A model and its items at one moment. A request takes one at its start and uses no other.

    Attributes:
        recommender: the model.
        version: the first digits of its bundle's hash.
        items: every item there is.
        mark: which events the model was trained on.
        loaded: when the model was loaded, seconds since 1970.
    """

    recommender: Recommender
    version: str
    items: Catalogue
    mark: TrainedUpTo = field(default_factory=TrainedUpTo)
    loaded: float = field(default_factory=time.time)

    @classmethod
    def of(cls, recommender: Recommender, version: str, mark: TrainedUpTo | None = None) -> State:
        """Build from a model alone."""
        return cls(recommender, version, Catalogue(Trained(recommender)), mark or TrainedUpTo())

    @property
    def users(self) -> EntityVectors:
        """The model's users."""
        return self.recommender.users

    def with_items(self, items: Catalogue) -> State:
        """Return the state with other items."""
        return State(self.recommender, self.version, items, self.mark, self.loaded)

    @cached_property
    def encoder(self) -> QueryEncoder:
        """What encodes queries, with all items, also the live ones; made on first use."""
        own, vectors = self.recommender.query_encoder, self.items.vectors
        if vectors is None:
            return own
        live, arrays = self.items.live, None
        if self.recommender.items.arrays is not None:
            arrays = SideArrays.joined([item.arrays for item in live])
        return own.with_items(vectors, np.array([item.duration for item in live]), arrays)

    @cached_property
    def like(self) -> float | None:
        """A label that counts as a positive: what an event without one stands for. None without labels."""
        return usual_label(self.recommender)

    def scores(self, users: F32, rows: Long) -> tuple[list[float], list[float]]:
        """Return scores and predictions, in the label's own units, of pairs of a vector and an item.

        Args:
            users: float32 (n, dim).
            rows: item rows (n,).
        """
        pairs = np.arange(len(rows))
        scores = score_pairs(users, self.items.vectors_of(rows), pairs, pairs)
        known = self.encoder.histories.catalogue.item_duration
        duration = None if known is None else known[rows]
        return scores.tolist(), self.recommender.target.inverse(scores, duration).tolist()

    @property
    def ranks(self) -> bool:
        """Whether the model was trained to rank, and so predicts no label."""
        return self.recommender.objective.implicit

    def info(self) -> dict[str, Any]:
        """Return the facts of a state for the log."""
        found = {"model": self.version, "users": len(self.users), "items": len(self.items)}
        return found | ({} if self.ranks else {"note": "it predicts labels and was not trained to rank"})
