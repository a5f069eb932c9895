"""`RankingBaseline`: what every ranking baseline promises, and how scores become lists.

All of them see a train part as one thing, the set of its (user, item) pairs, and rank a catalogue by a score
of their own. What they share is here: an item without train rows comes after all that have some, in the order
of its row; a user without train rows gets the popular items; equal scores are ranked by lower row; and scores
are made for a block of users at a time, so that memory does not grow with the number of users asked for.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from twotower.baselines.baseline import FloatArray, IntArray, rows_of
from twotower.baselines.order import COLD, rank_alike, top_rows, values_at
from twotower.baselines.positives import Positives, blocks
from twotower.data.dataset import TrainPart
from twotower.data.item_lists import ItemLists, check_lists, take_lists
from twotower.data.ranker import Queries, Ranker
from twotower.errors import ConfigError, DataError, TrainingError
from twotower.retrieval import exact_top_k
from twotower.schema import Schema

Setting = int | float | str | None
"""A value of a setting, as the constructors take it."""


class RankingBaseline(Ranker):
    """A simple ranker that ours has to beat. Settings are arguments of the constructor.

    Attributes:
        positives: what it was fitted on, once fitted.
    """

    positives: Positives | None = None

    @abstractmethod
    def settings(self) -> dict[str, Setting]:
        """Return the arguments that make the same unfitted baseline."""

    @classmethod
    @abstractmethod
    def candidates(cls, positives: Positives) -> Sequence[Self]:
        """Return the unfitted baselines that `tune` chooses among, one for each setting of the grid.

        Args:
            positives: what they are to be fitted on.

        Raises:
            ConfigError: the baseline does not apply to this schema.
        """

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Say whether the tables have what the baseline needs; most need nothing."""
        del schema
        return True

    @classmethod
    def tune(cls, train: TrainPart, judge: Callable[[Ranker], float], *, seed: int = 0) -> Self:
        """Fit each setting of the grid and return the one that the judge values most, unfitted.

        Fit it then on train and validation together. With one setting alone, nobody is asked.

        Args:
            train: rows to learn from, as for `fit`.
            judge: what a fitted ranker is worth on a validation part, more is better; of equal worth, the
                first of `candidates` is taken.
            seed: of whatever is random in the fits.

        Raises:
            ConfigError: the baseline does not apply to the schema of ``train``.
            DataError: the judge's answer is not finite.
            TypeError: as `fit`.
        """
        positives = Positives.of(train)
        candidates = cls.candidates(positives)
        if len(candidates) == 1:
            return candidates[0]
        return candidates[int(np.argmax([_worth(one, positives, judge, seed) for one in candidates]))]

    def fit(self, train: TrainPart, *, seed: int = 0) -> Self:
        """Learn from the pairs of a train part; a second call forgets the first.

        Args:
            train: its interactions are the positives; a (user, item) pair counts once.
            seed: of whatever is random in the fit; the same seed gives the same bits.

        Returns:
            This baseline.

        Raises:
            ConfigError: the baseline does not apply to the schema of ``train``.
            DataError: no rows, or more items than the baseline can hold.
            TypeError: ``train`` was not declared as a train part.
        """
        return self._fit_on(Positives.of(train), seed)

    def rank(self, queries: Queries, k: int) -> NDArray[np.int32]:
        """Return the item rows (n_users, k) that each user is given; see `Ranker.rank`.

        Items without train rows come last, by row. A user without train rows gets the popular items.

        Raises:
            ConfigError: ``k`` below 1.
            DataError: ``queries.barred`` does not fit the users or names an item that does not exist.
            TrainingError: the baseline is not fitted.
        """
        if self.positives is None:
            raise TrainingError(
                f"the baseline {self.name!r} can't rank before it is fitted; call fit(train) first"
            )
        if k < 1:
            raise ConfigError(f"k must be at least 1, got {k}; ask for one item or more")
        barred = check_lists("queries.barred", queries.barred, len(queries.users), len(queries.items))
        return self._rank(replace(queries, barred=barred), k, self.positives)

    def _fit_on(self, positives: Positives, seed: int) -> Self:
        self.positives = None
        self._fit(positives, seed)
        self.positives = positives
        return self

    @abstractmethod
    def _fit(self, positives: Positives, seed: int) -> None:
        """Learn from the pairs."""

    @abstractmethod
    def _rank(self, queries: Queries, k: int, positives: Positives) -> NDArray[np.int32]:
        """Return the rows (n_users, k), the queries having been checked."""


class PersonalBaseline(RankingBaseline):
    """A baseline that knows each user by train rows."""

    def _rank(self, queries: Queries, k: int, positives: Positives) -> NDArray[np.int32]:
        users = rows_of(queries.users, positives.users)
        items = rows_of(queries.items, positives.items)
        warm, cold = np.flatnonzero(users >= 0), np.flatnonzero(users < 0)
        found = np.full((len(users), k), -1, dtype=np.int32)
        if warm.size:
            found[warm] = self._rank_warm(users[warm], items, take_lists(queries.barred, warm), k)
        if cold.size:
            worth = values_at(positives.popularity, items)
            found[cold] = rank_alike(worth, take_lists(queries.barred, cold), cold.size, k)
        return found

    @abstractmethod
    def _rank_warm(self, users: IntArray, items: IntArray, barred: ItemLists, k: int) -> NDArray[np.int32]:
        """Rank for users that have train rows.

        Args:
            users: (n_users,) rows of ``positives.users``.
            items: (n_items,) rows of ``positives.items``, -1 for a cold item.
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
        assert self.positives is not None  # checked by `rank`
        for rows in blocks(len(users), max(len(items), len(self.positives.items))):
            scores = values_at(self._scores(users[rows]), items)  # (block, n_items)
            within = pointers[rows.start : rows.stop + 1]
            user = np.repeat(np.arange(len(scores)), np.diff(within))
            scores[user, barred_rows[within[0] : within[-1]]] = -np.inf
            found[rows] = top_rows(scores, k)
        return found


class VectorBaseline(PersonalBaseline):
    """A baseline whose score is the dot product of a user's and an item's vector.

    Attributes:
        user_vectors: float32 (n_users, dim) in the order of ``positives.users``, once fitted.
        item_vectors: float32 (n_items, dim) in that of ``positives.items``.
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


def _worth(
    candidate: RankingBaseline, positives: Positives, judge: Callable[[Ranker], Any], seed: int
) -> float:
    """Judge a fitted copy, which is gone afterwards: models can be large, and one is held at a time."""
    worth = float(judge(copy.copy(candidate)._fit_on(positives, seed)))
    if not np.isfinite(worth):
        raise DataError(
            f"a setting is chosen by a finite number, the judge gave {worth} for {candidate.name!r} with "
            f"{candidate.settings()}; check that the validation part has positives"
        )
    return worth
