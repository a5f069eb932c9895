"""Decayed counts of which item follows which: a strong baseline for data with order, with nothing learnt.

    C_ij = sum of decay^(gap - 1) over events of i before events of j of the same user, 1 <= gap <= 8 places
    s_uj = sum over u's last 50 items i of memory^age (C + backward C')_ij / (n_i^source n_j^target)

where age is 0 for the last item, C' is the transpose of C, and n is an item's number of users, plus 1. With
grades, a count is the product of both grades, an item of the history counts by its grade, and n is the sum of
an item's grades, plus 1.

It is related to the sequential rules of Ludewig & Jannach, "Evaluation of Session-based Recommendation
Algorithms", 2018, section 3.1, where a gap weighs 1 / gap and only the last item is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csr_array, diags_array

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.events import Events, has_times, require_times
from twotower.baselines.feedback import Feedback
from twotower.baselines.ranking import ScoreBaseline, at_least_zero, between_0_and_1
from twotower.baselines.search import Ladder, Setting
from twotower.config.schema import Schema

REACH = 8
"""The largest gap that is counted, in events."""
HISTORY = 50
"""How many last events of a user are read."""
DECAYS = Ladder((0.0, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0), start=4, closed=(True, True))
"""Values of ``decay`` that tuning may try."""
MEMORIES = Ladder((0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0), start=4, closed=(True, True))
"""Values of ``memory`` that tuning may try."""
BACKWARDS = Ladder((0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0), start=2, closed=(True, True))
"""Values of ``backward`` that tuning may try; at 1 the direction does not matter."""
EXPONENTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Values of ``source`` and ``target`` that tuning may try."""
_TIE = 1e-9
"""What popularity adds, relative to a user's highest score: it only decides between equal scores."""


class NextItemCounts(ScoreBaseline):
    """Ranks by how often an item followed the user's last items, and how closely.

    Equal scores, such as those of items that never followed, are ranked by popularity.

    Attributes:
        decay: weight of each further place between two items, from 0 (the next item alone) to 1.
        memory: weight of each further place back in the user's history, from 0 (the last item alone) to 1.
        backward: weight of the opposite order, from 0 to 1.
        source: how much the count of a popular item of the history is divided by its popularity, at least 0.
        target: the same for the item that is scored.
        power: exponent of the grades.
        weights: sparse (n_items, n_items), after fitting: from an item of the history (row) to a candidate.
        history: sparse (n_users, n_items), after fitting: the weight of each item of a user's history.
    """

    name = "next-item counts"
    needs = "the time of each interaction"

    def __init__(
        self,
        decay: float = 0.85,
        memory: float = 0.6,
        backward: float = 0.2,
        source: float = 0.5,
        target: float = 0.2,
        power: float = 1.0,
    ) -> None:
        super().__init__(power)
        at_least_zero(self.name, source=source, target=target)
        between_0_and_1(self.name, decay=decay, memory=memory, backward=backward)
        self.decay, self.memory, self.backward = decay, memory, backward
        self.source, self.target = source, target

    def own_settings(self) -> dict[str, Setting]:
        """Return decay, memory, backward, source and target."""
        return {
            "decay": self.decay,
            "memory": self.memory,
            "backward": self.backward,
            "source": self.source,
            "target": self.target,
        }

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the search ranges of all settings.

        Raises:
            ConfigError: the schema names no timestamp.
        """
        require_times(feedback.train.schema, cls.name)
        return {
            "memory": MEMORIES,
            "backward": BACKWARDS,
            "target": Ladder(EXPONENTS, 2, closed=(True, False)),
            "source": Ladder(EXPONENTS, 4, closed=(True, False)),
            "decay": DECAYS,
        }

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Return whether interactions have a time."""
        return has_times(schema)

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        events, n_items = Events.of(feedback, self.name), len(feedback.items)
        counts = csr_array((n_items, n_items))
        for gap in range(1, REACH + 1 if self.decay else 2):
            before, after = np.arange(len(events.user) - gap), np.arange(gap, len(events.user))
            pair = (events.user[before] == events.user[after]) & (events.item[before] != events.item[after])
            before, after = before[pair], after[pair]
            weight = self.decay ** (gap - 1) * events.grade[before] * events.grade[after]
            counts += csr_array((weight, (events.item[before], events.item[after])), shape=counts.shape)
        popularity = feedback.popularity
        scale = [diags_array((popularity + 1) ** -power) for power in (self.source, self.target)]
        self.weights = csr_array(scale[0] @ (counts + self.backward * counts.T) @ scale[1])
        age = events.age
        read = age < (HISTORY if self.memory else 1)
        weight = events.grade[read] * self.memory ** age[read]
        shape = (len(feedback.users), n_items)
        self.history = csr_array((weight, (events.user[read], events.item[read])), shape=shape)
        self._tie = popularity / popularity.max()

    def _scores(self, users: IntArray) -> FloatArray:
        scores: FloatArray = (self.history[users] @ self.weights).toarray()
        highest = scores.max(axis=1, keepdims=True)
        scores += _TIE * np.where(highest > 0, highest, 1.0) * self._tie
        return scores
