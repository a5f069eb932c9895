"""`Histories`: the items of users, the vectors that follow from them, and scores divided among them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.core.reprs import ShortRepr
from twotower.errors import ConfigError, DataError
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.parts import Catalogue, Interactions, Training
from twotower.recommender.row_queries import RowQueries
from twotower.targets.target import label_targets
from twotower.towers import SideArrays
from twotower.towers.fold_in import FoldIn

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.int64]
Targets = F64 | None
_EXPLAINED = ("contribution", "base", "score")


class Reasons(NamedTuple):
    """What scores of one user are divided among.

    Attributes:
        items: int64 (n,), item rows of the user.
        split: from item rows (m,) whose scores are divided to the bases (m,), and to what each item adds
            (m, n); ``score = base + sum``.
    """

    items: Rows
    split: Callable[[Rows], tuple[F64, F64]]


@dataclass(frozen=True, repr=False)
class Histories(ShortRepr, ABC):
    """The items of users, and the vectors that follow from both items and features.

    A model whose user tower reads histories makes vectors by a forward pass (`ReadHistories`), any other by
    folding in (`FoldedHistories`).

    Attributes:
        catalogue: the users and items known.
        interactions: the items of each user in the training set.
        training: what the model was trained for.
        towers: of the model.
    """

    catalogue: Catalogue
    interactions: Interactions
    training: Training
    towers: FittedTowers

    @abstractmethod
    def values(self, rows: Rows, labels: F64 | None, duration: F64 | None = None) -> F64:
        """Return what each item of a history says, float64 (n,).

        Args:
            rows: item rows (n,).
            labels: (n,), nan for items that are only known to be liked; None if none has one.
            duration: (n,) durations of the items; None for those of the catalogue's rows.

        Raises:
            DataError: labels for a model that was trained without.
        """

    @abstractmethod
    def vectors(self, asked: RowQueries) -> F32:
        """Return the vectors of queries, float32 (n, dim).

        Someone known without a history has the vector as trained, someone of whom nothing is known the
        typical user's.
        """

    @abstractmethod
    def reasons(self, vector: F32, asked: RowQueries) -> Reasons:
        """Return what the scores of a vector float32 (dim,), that of one query, are divided among."""

    @abstractmethod
    def with_items(self, vectors: F32, duration: F64, arrays: SideArrays | None) -> Self:
        """Return histories that may have further items, whose rows follow the catalogue's.

        Args:
            vectors: float32 (n, dim) of these items.
            duration: float64 (n,), nan where not known.
            arrays: what the item tower reads of them.
        """

    @cached_property
    def folding(self) -> FoldIn:
        """What solves for user vectors in closed form; made on first use."""
        users, items = self.catalogue.users, self.catalogue.items
        layout, known = self.towers.model.layout, users.typical
        if known is not None:
            return FoldIn(items.vectors, items.warm, known[0], layout, self.training.fold_in, known[1])
        return FoldIn.of(users.vectors[users.warm], items.vectors, items.warm, layout, self.training.fold_in)

    @cached_property
    def typical(self) -> F32:
        """The mean of the trained users' vectors, float32 (dim,)."""
        return self.folding.typical

    def pairs(self) -> pl.DataFrame:
        """Return the (user, item) pairs of the training set with their labels, named as in the schema."""
        schema, labels, seen = self.towers.encoder.schema, self.interactions.labels, self.interactions.items
        users, items = self.catalogue.users, self.catalogue.items
        pairs = pl.DataFrame(
            {schema.user: users.ids.gather(seen.owners()), schema.item: items.ids.gather(seen.values)}
        )
        if schema.label is None or labels is None:
            return pairs
        return pairs.with_columns(pl.Series(schema.label, labels))

    def of(self, row: int) -> tuple[Rows, Targets]:
        """Return a known user's (by row) item rows of the training set, and their targets."""
        seen, label = self.interactions.items, self.interactions.labels
        rows = seen[row].astype(np.int64)
        return rows, self.targets(rows, None if label is None else label[seen.span(row)])

    def targets(self, rows: Rows, labels: ArrayLike | None = None, duration: F64 | None = None) -> Targets:
        """Return the targets of a user's scores in `folding`, (n,), nan for items without one.

        Args:
            rows: item rows (n,).
            labels: (n,) labels of these interactions; None gives None, for positives.
            duration: (n,) durations of the items; None for those of the catalogue's rows.

        Raises:
            DataError: labels that are not n finite numbers, or for a model that was trained without.
        """
        if labels is None:
            return None
        values = np.asarray(labels, dtype=np.float64)
        self._check_labelled()
        if values.shape != rows.shape or not np.isfinite(values).all():
            raise DataError(
                f"there must be one finite label for each of the {len(rows)} items, got {values.tolist()}"
            )
        target, training = self.towers.target, self.training
        duration = self._durations(rows, duration)
        drawn = label_targets(target, training.positive, training.objective, values, duration, len(rows))
        return target.as_scores(drawn)

    def _check_labelled(self) -> None:
        if self.towers.encoder.schema.label is None:
            raise DataError("a model trained without labels can't use labels; leave them out")

    def _durations(self, rows: Rows, given: F64 | None) -> F64 | None:
        known = self.catalogue.item_duration
        return known[rows] if given is None and known is not None else given

    def _longer(self, duration: F64) -> Catalogue:
        """Return the catalogue with the durations of further items."""
        known = self.catalogue.item_duration
        longer = None if known is None else np.append(known, duration)
        return replace(self.catalogue, item_duration=longer)

    def explained(self, vector: F32, asked: RowQueries, of: Rows) -> pl.DataFrame:
        """Return what each item of a user adds to the scores of the given items.

        Args:
            vector: float32 (dim,) of the user.
            asked: the query that it is the vector of.
            of: item rows (m,) whose scores are explained, at least one.

        Returns:
            One row a pair, m x n, the largest contributions of each scored item first: item id (``item_``
                before it if another column has its name), ``because_`` item id, ``contribution``, ``base``
                and ``score``, which is the base and all contributions together.
        """
        if not len(of):
            raise ConfigError("explain needs at least one item to explain, got none")
        rows, split = self.reasons(vector, asked)
        base, parts = split(of)
        distinct, place = np.unique(rows, return_inverse=True)
        if len(distinct) < len(rows):  # what a user has twice is one reason
            summed = np.zeros((len(distinct), len(of)))
            np.add.at(summed, place, parts.T)
            rows, parts = distinct, summed.T
        order = np.argsort(-parts, axis=1, kind="stable")
        each = np.repeat(np.arange(len(of)), len(rows))
        ids, column = self.catalogue.items.ids, self.towers.encoder.schema.item
        item = f"item_{column}" if column in _EXPLAINED else column
        return pl.DataFrame(
            {
                item: ids.gather(of[each]),
                f"because_{column}": ids.gather(rows[order].reshape(-1)),
                "contribution": np.take_along_axis(parts, order, axis=1).reshape(-1),
                "base": base[each],
                "score": (base + parts.sum(axis=1))[each],
            }
        )
