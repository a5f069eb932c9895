"""`RankingBaseline`: what every ranking baseline promises, and how scores become lists.

All of them see a train part as one thing, the set of its (user, item) pairs, and rank a catalogue by a score
of their own. Pairs may have grades, which come from labels; each baseline counts them in a way of its own.
What they share is here: an item without train rows comes after all that have some, in the order of its row;
a user without train rows gets the popular items; equal scores are ranked by lower row; and scores are made
for a block of users at a time, so that memory does not grow with the number of users asked for.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.baselines.baseline import FloatArray, IntArray, rows_of
from twotower.baselines.feedback import Feedback, blocks
from twotower.baselines.order import COLD, rank_alike, top_rows, values_at
from twotower.baselines.search import Found, Ladder, Point, Setting, climb
from twotower.data.dataset import TrainPart
from twotower.data.item_lists import ItemLists, check_lists, take_lists
from twotower.data.ranker import Queries, Ranker
from twotower.errors import ConfigError, DataError, TrainingError
from twotower.retrieval import exact_top_k
from twotower.schema import Schema

POWERS = Ladder((0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0), start=2, closed=(True, False))
"""Exponents of the grades that a search may try: the higher, the less a low grade counts.
At 0 all are alike."""

B = TypeVar("B", bound="RankingBaseline")


@dataclass(frozen=True)
class Tuned(Generic[B]):
    """What tuning found.

    Attributes:
        baseline: with the best settings, unfitted.
        worth: what the judge said of it.
        tried: number of settings that were tried.
        at_edge: settings that are best at the first or last value that was allowed.
    """

    baseline: B
    worth: float
    tried: int
    at_edge: tuple[str, ...]


class RankingBaseline(Ranker):
    """A simple ranker that ours has to beat. Settings are arguments of the constructor.

    Attributes:
        feedback: what it was fitted on, once fitted.
        power: exponent of the grades, at least 0; without grades it makes no difference.
    """

    feedback: Feedback | None = None

    def __init__(self, power: float = 1.0) -> None:
        at_least_zero(self.name, power=power)
        self.power = power

    def settings(self) -> dict[str, Setting]:
        """Return the arguments that make the same unfitted baseline; the power where it is not 1."""
        return self.own_settings() | ({"power": self.power} if self.power != 1.0 else {})

    @abstractmethod
    def own_settings(self) -> dict[str, Setting]:
        """Return the arguments other than the power."""

    @classmethod
    @abstractmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the values that `tune` may try for each setting, the most important setting first.

        Args:
            feedback: what the baseline is to be fitted on.

        Raises:
            ConfigError: the baseline does not apply to this schema.
        """

    @classmethod
    def made(cls, point: Point, feedback: Feedback) -> Self:
        """Return the unfitted baseline of a point of the ladders, and of the powers.

        Args:
            point: a value for each ladder.
            feedback: what it is to be fitted on; some settings are in units of it.
        """
        del feedback  # only where a setting has other units than the constructor
        return cls(**point)

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Say whether the tables have what the baseline needs; most need nothing."""
        del schema
        return True

    @classmethod
    def tune(
        cls,
        train: TrainPart,
        judge: Callable[[Ranker], float],
        *,
        grades: ArrayLike | None = None,
        seed: int = 0,
    ) -> Tuned[Self]:
        """Climb the ladders, and with grades those of their power, to what the judge values most.

        Fit the baseline that is found on train and validation together.

        Args:
            train: rows to learn from, as for `fit`.
            judge: what a fitted ranker is worth on a validation part, more is better; of equal worth, the
                first tried is taken.
            grades: of the rows, as for `fit`.
            seed: of whatever is random in the fits.

        Raises:
            ConfigError: the baseline does not apply to the schema of ``train``.
            DataError: the judge's answer is not finite.
            TypeError: as `fit`.
        """
        feedback = Feedback.of(train, grades)
        ladders = {**({"power": POWERS} if feedback.graded else {}), **cls.ladders(feedback)}
        found: Found = climb(ladders, lambda point: _worth(cls.made(point, feedback), feedback, judge, seed))
        return Tuned(cls.made(found.point, feedback), found.worth, found.tried, found.at_edge)

    def fit(self, train: TrainPart, *, grades: ArrayLike | None = None, seed: int = 0) -> Self:
        """Learn from the pairs of a train part; a second call forgets the first.

        Args:
            train: without grades its interactions are the positives, all alike; a (user, item) pair counts
                once.
            grades: (n,) how much each interaction counts, finite and at least 0, such as the rank of its
                label; 0 is as good as unobserved. Of several interactions of a pair the highest grade counts.
            seed: of whatever is random in the fit; the same seed gives the same bits.

        Returns:
            This baseline.

        Raises:
            ConfigError: the baseline does not apply to the schema of ``train``.
            DataError: no rows, more items than the baseline can hold, or grades of another kind.
            TypeError: ``train`` was not declared as a train part.
        """
        return self._fit_on(Feedback.of(train, grades), seed)

    def rank(self, queries: Queries, k: int) -> NDArray[np.int32]:
        """Return the item rows (n_users, k) that each user is given; see `Ranker.rank`.

        Items without train rows come last, by row. A user without train rows gets the popular items.

        Raises:
            ConfigError: ``k`` below 1.
            DataError: ``queries.barred`` does not fit the users or names an item that does not exist.
            TrainingError: the baseline is not fitted.
        """
        if self.feedback is None:
            raise TrainingError(
                f"the baseline {self.name!r} can't rank before it is fitted; call fit(train) first"
            )
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}; ask for one item or more")
        barred = check_lists("queries.barred", queries.barred, len(queries.users), len(queries.items))
        return self._rank(replace(queries, barred=barred), k, self.feedback)

    def _fit_on(self, feedback: Feedback, seed: int) -> Self:
        self.feedback = None
        feedback = feedback.raised(self.power)
        self._fit(feedback, seed)
        self.feedback = feedback
        return self

    @abstractmethod
    def _fit(self, feedback: Feedback, seed: int) -> None:
        """Learn from the pairs."""

    @abstractmethod
    def _rank(self, queries: Queries, k: int, feedback: Feedback) -> NDArray[np.int32]:
        """Return the rows (n_users, k), the queries having been checked."""


class PersonalBaseline(RankingBaseline):
    """A baseline that knows each user by train rows."""

    def _rank(self, queries: Queries, k: int, feedback: Feedback) -> NDArray[np.int32]:
        users = rows_of(queries.users, feedback.users)
        items = rows_of(queries.items, feedback.items)
        warm, cold = np.flatnonzero(users >= 0), np.flatnonzero(users < 0)
        found = np.full((len(users), k), -1, dtype=np.int32)
        if warm.size:
            found[warm] = self._rank_warm(users[warm], items, take_lists(queries.barred, warm), k)
        if cold.size:
            worth = values_at(feedback.popularity, items)
            found[cold] = rank_alike(worth, take_lists(queries.barred, cold), cold.size, k)
        return found

    @abstractmethod
    def _rank_warm(self, users: IntArray, items: IntArray, barred: ItemLists, k: int) -> NDArray[np.int32]:
        """Rank for users that have train rows.

        Args:
            users: (n_users,) rows of ``feedback.users``.
            items: (n_items,) rows of ``feedback.items``, -1 for a cold item.
            barred: for these users.
            k: at least 1.

        Returns:
            (n_users, k) places in ``items``.
        """


class ScoreBaseline(PersonalBaseline):
    """A baseline that gives a user's scores of all items at once."""

    @abstractmethod
    def _scores(self, users: IntArray) -> FloatArray:
        """Return finite scores (n_users, n_items) of all items with train rows, for rows of users."""

    def _rank_warm(self, users: IntArray, items: IntArray, barred: ItemLists, k: int) -> NDArray[np.int32]:
        found = np.empty((len(users), k), dtype=np.int32)
        pointers, barred_rows = barred
        assert self.feedback is not None  # checked by `rank`
        for rows in blocks(len(users), max(len(items), len(self.feedback.items))):
            scores = values_at(self._scores(users[rows]), items)  # (block, n_items)
            within = pointers[rows.start : rows.stop + 1]
            user = np.repeat(np.arange(len(scores)), np.diff(within))
            scores[user, barred_rows[within[0] : within[-1]]] = -np.inf
            found[rows] = top_rows(scores, k)
        return found


class VectorBaseline(PersonalBaseline):
    """A baseline whose score is the dot product of a user's and an item's vector.

    Attributes:
        user_vectors: float32 (n_users, dim) in the order of ``feedback.users``, once fitted.
        item_vectors: float32 (n_items, dim) in that of ``feedback.items``.
    """

    user_vectors: NDArray[np.float32]
    item_vectors: NDArray[np.float32]

    def _rank_warm(self, users: IntArray, items: IntArray, barred: ItemLists, k: int) -> NDArray[np.int32]:
        # One more coordinate, 1 for users, carries the score of a cold item, so that one search ranks all.
        width = self.item_vectors.shape[1]
        asked = np.ones((len(users), width + 1), dtype=np.float32)
        asked[:, :width] = self.user_vectors[users]
        given = np.zeros((len(items), width + 1), dtype=np.float32)
        warm = items >= 0
        given[warm, :width] = self.item_vectors[items[warm]]
        given[~warm, width] = COLD
        return exact_top_k(asked, given, k, seen=barred).items


def above_zero(baseline: str, **settings: float) -> None:
    """Check that settings are finite and above 0.

    Raises:
        ConfigError: one is not.
    """
    for name, value in settings.items():
        if not (np.isfinite(value) and value > 0):
            raise ConfigError(f"{name} of the baseline {baseline!r} must be above 0, got {value}; correct it")


def at_least_zero(baseline: str, **settings: float) -> None:
    """Check that settings are finite and not negative.

    Raises:
        ConfigError: one is not.
    """
    for name, value in settings.items():
        if not (np.isfinite(value) and value >= 0):
            raise ConfigError(
                f"{name} of the baseline {baseline!r} must be 0 or more, got {value}; correct it"
            )


def _worth(
    candidate: RankingBaseline, feedback: Feedback, judge: Callable[[Ranker], Any], seed: int
) -> float:
    """Judge a fitted copy, which is gone afterwards: models can be large, and one is held at a time."""
    worth = float(judge(copy.copy(candidate)._fit_on(feedback, seed)))
    if not np.isfinite(worth):
        raise DataError(
            f"a setting is chosen by a finite number, the judge gave {worth} for {candidate.name!r} with "
            f"{candidate.settings()}; check that the validation part has positives"
        )
    return worth
