"""`RankingBaseline`: the interface of ranking baselines, and how their scores become lists.

All of them use the (user, item) pairs of a training set and rank a catalogue by their own score. Pairs may
have grades, which come from labels; each baseline uses them in its own way. Shared behaviour: items without
training rows come last, in row order; a user without training rows gets the most popular items; ties are
ranked by lower row; and scores are computed for a block of users at a time, so that memory does not grow with
the number of users.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.feedback import Feedback, blocks
from twotower.baselines.order import COLD, rank_alike, top_rows, values_at
from twotower.baselines.search import Found, Ladder, Point, Setting, climb
from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, DataError, TrainingError
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.retrieval import exact_top_k

POWERS = Ladder((0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0), start=2, closed=(True, False))
"""Exponents of the grades that tuning may try: the higher, the less a low grade counts. At 0 all grades
count the same."""

B = TypeVar("B", bound="RankingBaseline")


@dataclass(frozen=True)
class Tuned(Generic[B]):
    """The result of tuning.

    Attributes:
        baseline: the baseline with the best settings, unfitted.
        worth: its validation score.
        tried: number of combinations that were tried.
        at_edge: settings whose best value is the first or last one allowed.
    """

    baseline: B
    worth: float
    tried: int
    at_edge: tuple[str, ...]


class RankingBaseline(Ranker):
    """A simple ranker to compare against. Settings are arguments of the constructor.

    Attributes:
        feedback: the pairs it was fitted on, after fitting.
        power: exponent of the grades, at least 0; has no effect without grades.
    """

    feedback: Feedback | None = None
    quick: ClassVar[bool] = True
    """Whether it is fast enough for every report; a slow one is only in reports with all baselines."""
    featured: ClassVar[bool] = False
    """Whether the demonstration compares with it; it must be quick to tune."""
    needs: ClassVar[str] = ""
    """What the schema must name for `applies_to` to be true, in words; empty if it needs nothing."""
    for_new_items: ClassVar[bool] = False
    """Whether it is only worth comparing with if the test set has items without training rows."""

    def __init__(self, power: float = 1.0) -> None:
        at_least_zero(self.name, power=power)
        self.power = power

    def settings(self) -> dict[str, Setting]:
        """Return the constructor arguments of this baseline, including the power if it is not 1."""
        return self.own_settings() | ({"power": self.power} if self.power != 1.0 else {})

    @abstractmethod
    def own_settings(self) -> dict[str, Setting]:
        """Return the arguments other than the power."""

    @classmethod
    @abstractmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the values that `tune` may try for each setting, most important setting first.

        Args:
            feedback: the pairs to fit on.

        Raises:
            ConfigError: the baseline does not apply to this schema.
        """

    @classmethod
    def made(cls, point: Point, feedback: Feedback) -> Self:
        """Return the unfitted baseline with the given values of its settings and power.

        Args:
            point: a value for each setting.
            feedback: the pairs to fit on; the units of some settings depend on them.
        """
        del feedback  # used only if a setting's units differ from the constructor's
        return cls(**point)

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Return whether the schema has the columns that the baseline needs; most need none."""
        del schema
        return True

    @classmethod
    def unsuited(cls, train: Dataset) -> str:
        """Return why the baseline does not suit a training set, in words; empty if it does."""
        if cls.applies_to(train.schema):
            return ""
        return f"it needs {cls.needs or 'a column'}, which the schema does not name"

    @classmethod
    def tune(
        cls,
        train: TrainPart,
        judge: Callable[[Ranker], float],
        *,
        grades: ArrayLike | None = None,
        seed: int = 0,
    ) -> Tuned[Self]:
        """Choose settings (with grades, also their power) by coordinate ascent on the validation score.

        Fit the returned baseline on training and validation set together.

        Args:
            train: rows to fit on, as for `fit`.
            judge: validation score of a fitted ranker, higher is better; ties go to the first one tried.
            grades: grades of the rows, as for `fit`.
            seed: random seed of the fits.

        Raises:
            ConfigError: the baseline does not apply to the schema of ``train``.
            DataError: the validation score is not finite.
            TrainPartError: as in `fit`.
        """
        feedback = Feedback.of(train, grades)
        ladders = {**({"power": POWERS} if feedback.graded else {}), **cls.ladders(feedback)}
        found: Found = climb(ladders, lambda point: _worth(cls.made(point, feedback), feedback, judge, seed))
        return Tuned(cls.made(found.point, feedback), found.worth, found.tried, found.at_edge)

    def fit(self, train: TrainPart, *, grades: ArrayLike | None = None, seed: int = 0) -> Self:
        """Fit on the pairs of a training set; a second call starts over.

        Args:
            train: without grades, all its interactions are positives; a (user, item) pair counts once.
            grades: (n,) grade of each interaction, finite and at least 0, such as the rank of its label; 0
                means unobserved. A pair with several interactions has the highest grade.
            seed: random seed of the fit; the same seed gives the same bits.

        Returns:
            This baseline.

        Raises:
            ConfigError: the baseline does not apply to the schema of ``train``.
            DataError: no rows, more items than the baseline can handle, or invalid grades.
            TrainPartError: ``train`` is not marked as a training set.
        """
        return self._fit_on(Feedback.of(train, grades), seed)

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Return the item rows (n_users, k) recommended to each user; see `Ranker.rank`.

        Items without training rows come last, by row. A user without training rows gets the most popular
        items.

        Raises:
            ConfigError: ``k`` is below 1.
            DataError: ``queries.barred`` does not match the users or names an unknown item.
            TrainingError: the baseline is not fitted.
        """
        if self.feedback is None:
            raise TrainingError(
                f"the baseline {self.name!r} can't rank before it is fitted; call fit(train) first"
            )
        if k < 1:
            raise ConfigError(f"k must be at least 1; got {k}")
        barred = Lists.check("queries.barred", queries.barred, len(queries.users), len(queries.items))
        return self._rank(replace(queries, barred=barred), k, self.feedback)

    def _fit_on(self, feedback: Feedback, seed: int) -> Self:
        self.feedback = None
        feedback = feedback.raised(self.power)
        self._fit(feedback, seed)
        self.feedback = feedback
        return self

    @abstractmethod
    def _fit(self, feedback: Feedback, seed: int) -> None:
        """Fit on the pairs."""

    @abstractmethod
    def _rank(self, queries: RankRequest, k: int, feedback: Feedback) -> NDArray[np.int32]:
        """Return the rows (n_users, k) for validated queries."""


class PersonalBaseline(RankingBaseline):
    """A baseline that uses each user's training rows."""

    def _rank(self, queries: RankRequest, k: int, feedback: Feedback) -> NDArray[np.int32]:
        users = feedback.users.rows(queries.users)
        items = feedback.items.rows(queries.items)
        warm, cold = np.flatnonzero(users >= 0), np.flatnonzero(users < 0)
        found = np.full((len(users), k), -1, dtype=np.int32)
        if warm.size:
            found[warm] = self._rank_warm(users[warm], items, queries.barred.of(warm), k)
        if cold.size:
            worth = values_at(self._worth_of_cold(feedback), items)
            found[cold] = rank_alike(worth, queries.barred.of(cold), cold.size, k)
        return found

    def _worth_of_cold(self, feedback: Feedback) -> FloatArray:
        """Return the scores (n_items,) of items with training rows, for users without any."""
        return feedback.popularity

    @abstractmethod
    def _rank_warm(self, users: IntArray, items: IntArray, barred: Lists, k: int) -> NDArray[np.int32]:
        """Rank for users with training rows.

        Args:
            users: (n_users,) rows of ``feedback.users``.
            items: (n_items,) rows of ``feedback.items``, -1 for a cold item.
            barred: excluded items of these users.
            k: at least 1.

        Returns:
            (n_users, k) positions in ``items``.
        """


class ScoreBaseline(PersonalBaseline):
    """A baseline that scores all items of a user at once."""

    @abstractmethod
    def _scores(self, users: IntArray) -> FloatArray:
        """Return finite scores (n_users, n_items) of all items with training rows, for rows of users."""

    def _rank_warm(self, users: IntArray, items: IntArray, barred: Lists, k: int) -> NDArray[np.int32]:
        found = np.empty((len(users), k), dtype=np.int32)
        assert self.feedback is not None  # checked by `rank`
        for rows in blocks(len(users), max(len(items), len(self.feedback.items))):
            scores = values_at(self._scores(users[rows]), items)  # (block, n_items)
            out = barred.between(rows.start, rows.stop)
            scores[out.owners(), out.values] = -np.inf
            found[rows] = top_rows(scores, k)
        return found


class VectorBaseline(PersonalBaseline):
    """A baseline whose score is the dot product of a user's and an item's vector.

    Attributes:
        user_vectors: float32 (n_users, dim) in the order of ``feedback.users``, after fitting.
        item_vectors: float32 (n_items, dim) in the order of ``feedback.items``.
    """

    user_vectors: NDArray[np.float32]
    item_vectors: NDArray[np.float32]

    def _rank_warm(self, users: IntArray, items: IntArray, barred: Lists, k: int) -> NDArray[np.int32]:
        # One more component, 1 for users, holds the score of cold items, so that one search ranks all items.
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
            raise ConfigError(f"{name} of the baseline {baseline!r} must be above 0; got {value}")


def at_least_zero(baseline: str, **settings: float) -> None:
    """Check that settings are finite and not negative.

    Raises:
        ConfigError: one is not.
    """
    for name, value in settings.items():
        if not (np.isfinite(value) and value >= 0):
            raise ConfigError(f"{name} of the baseline {baseline!r} must be at least 0; got {value}")


def between_0_and_1(baseline: str, **settings: float) -> None:
    """Check that settings are between 0 and 1.

    Raises:
        ConfigError: one is not.
    """
    at_least_zero(baseline, **settings)
    for name, value in settings.items():
        if value > 1:
            raise ConfigError(f"{name} of the baseline {baseline!r} must be at most 1; got {value}")


def _worth(
    candidate: RankingBaseline, feedback: Feedback, judge: Callable[[Ranker], Any], seed: int
) -> float:
    """Score a fitted copy and discard it: models can be large, so only one is kept in memory."""
    worth = float(judge(copy.copy(candidate)._fit_on(feedback, seed)))
    if not np.isfinite(worth):
        raise DataError(
            f"the validation score must be finite; got {worth} for {candidate.name!r} with "
            f"{candidate.settings()}. Check that the validation set has positives"
        )
    return worth
