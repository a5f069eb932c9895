"""Popularity of the last days: what is popular now, rather than ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.events import DAY, Events, has_times, require_times
from twotower.baselines.feedback import Feedback
from twotower.baselines.order import rank_alike, values_at
from twotower.baselines.ranking import ScoreBaseline, above_zero
from twotower.baselines.search import Ladder, Setting
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation.ranker import RankRequest

SHORTEST = 0.125
"""Days of the shortest window that tuning may try."""
DAYS = Ladder(
    (SHORTEST, 0.25, 0.5, 1.0, 2.0, 4.0, 7.0, 14.0, 30.0, 60.0, 90.0, 180.0, 365.0, 730.0, 1460.0, 2920.0),
    start=8,
    strides=(2, 1),
)
"""Lengths of the window that tuning may try, up to the first that holds all of the training set."""
UNTIL = ("end", "user")
"""Ends of the window: the last event of the training set; or the user's own last event."""
_TIE = 1e-6
"""What popularity of all time adds, at most: it only decides between equal counts."""


class RecentPopularity(ScoreBaseline):
    """Ranks by the number of users in a window of time, or by the sum of their grades.

    With ``until = "user"`` the window ends at each user's last training event, so that someone whose history
    ended long ago gets what was popular then, and no later event is counted. Equal counts are ranked by the
    popularity of all time.

    Attributes:
        days: length of the window, above 0.
        until: where it ends: ``"end"``, the last event of the training set, or ``"user"``.
        power: exponent of the grades.
    """

    name = "recent popularity"
    needs = "the time of each interaction"

    def __init__(self, days: float = 30.0, until: str = "end", power: float = 1.0) -> None:
        super().__init__(power)
        above_zero(self.name, days=days)
        if until not in UNTIL:
            raise ConfigError(
                f"until of the baseline {self.name!r} must be one of {', '.join(UNTIL)}; got {until!r}"
            )
        self.days, self.until = days, until

    def own_settings(self) -> dict[str, Setting]:
        """Return the length of the window and where it ends."""
        return {"days": self.days, "until": self.until}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the search ranges of both settings.

        Raises:
            ConfigError: the schema names no timestamp.
            DataError: all events are within the shortest window.
        """
        require_times(feedback.train.schema, cls.name)
        if why := cls.unsuited(feedback.train):
            raise DataError(f"the baseline {cls.name!r} can't be tuned: {why}")
        return {"days": DAYS.up_to(_span(feedback.train)), "until": Ladder(UNTIL, ordered=False)}

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Return whether interactions have a time."""
        return has_times(schema)

    @classmethod
    def unsuited(cls, train: Dataset) -> str:
        """Return why the baseline does not suit a training set: it has no times, or they span too little."""
        if why := super().unsuited(train):
            return why
        span = _span(train)
        if span > SHORTEST:
            return ""
        return (
            f"it needs times that span more than 3 hours, and these span {span * DAY:g} seconds; places in a "
            "sequence are no times"
        )

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        events = Events.of(feedback, self.name)
        # A user counts for an item from an event until it leaves the window, or the user's next event of it.
        order = np.lexsort((events.time, events.item, events.user))
        user, item, time = events.user[order], events.item[order], events.time[order]
        again = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
        stop = time + self.days * DAY
        stop[:-1][again] = np.minimum(stop[:-1], time[1:])[again]
        self._steps = _Steps.of(
            np.concatenate([time, stop]),
            np.concatenate([item, item]),
            np.concatenate([events.grade[order], -events.grade[order]]),
        )
        self._end = float(time.max()) if time.size else 0.0
        self._last = np.full(len(feedback.users), self._end)  # of a user none of whose events has a time
        self._last[events.user] = events.time  # ascending within the user: the last one stays
        self._tie = _TIE * feedback.popularity / feedback.popularity.max()

    def counts(self, moments: FloatArray) -> FloatArray:
        """Return what each item of the training set counts at some moments.

        Args:
            moments: (m,) seconds.

        Returns:
            (m, n_items) the number of users with an event in ``(moment - days, moment]``, or the sum of the
            grades.
        """
        return self._steps.sums(moments, len(self._tie))

    def _rank(self, queries: RankRequest, k: int, feedback: Feedback) -> NDArray[np.int32]:
        if self.until == "user":
            return super()._rank(queries, k, feedback)
        worth = values_at(self._worth_of_cold(feedback), feedback.items.rows(queries.items))
        return rank_alike(worth, queries.barred, len(queries.users), k)

    def _worth_of_cold(self, feedback: Feedback) -> FloatArray:
        worth: FloatArray = self.counts(np.array([self._end]))[0] + self._tie
        return worth

    def _scores(self, users: IntArray) -> FloatArray:
        scores: FloatArray = self.counts(self._last[users]) + self._tie
        return scores


def _span(train: Dataset) -> float:
    """Return the days between the first and the last interaction."""
    time = train.times()
    known = time[np.isfinite(time)]
    return float(np.ptp(known)) / DAY if known.size else 0.0


@dataclass(frozen=True, eq=False)
class _Steps:
    """Changes of the items' counts, ascending in time."""

    time: FloatArray  # (m,)
    item: IntArray  # (m,)
    change: FloatArray  # (m,)

    @classmethod
    def of(cls, time: FloatArray, item: IntArray, change: FloatArray) -> _Steps:
        order = np.argsort(time, kind="stable")
        exact = np.round(change * 2.0**30) / 2.0**30  # so that sums don't depend on the order of summation
        return cls(time[order], item[order], exact[order])

    def sums(self, moments: FloatArray, n_items: int) -> FloatArray:
        """Return the sum of the changes of each item up to and including each moment, (m, n_items)."""
        found = np.empty((len(moments), n_items))
        done = np.searchsorted(self.time, moments, side="right")  # (m,)
        order = np.argsort(done, kind="stable")
        current, start = np.zeros(n_items), 0
        for place, stop in zip(order, done[order], strict=True):
            if stop > start:
                current += np.bincount(self.item[start:stop], self.change[start:stop], n_items)
                start = stop
            found[place] = current
        return found
