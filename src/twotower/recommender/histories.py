"""`Histories`: the items of users, the vectors that follow from them, and scores divided among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.core.reprs import ShortRepr
from twotower.errors import ConfigError, DataError
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.parts import Catalogue, Interactions, Training
from twotower.targets.target import label_targets
from twotower.towers.fold_in import FoldIn

Rows = NDArray[np.int64]
Targets = NDArray[np.float64] | None
_EXPLAINED = ("contribution", "base", "score")


@dataclass(frozen=True, repr=False)
class Histories(ShortRepr):
    """The items of users, the targets of their scores, and what follows from both.

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

    @cached_property
    def folding(self) -> FoldIn:
        """What solves for user vectors; made on first use."""
        users, items = self.catalogue.users, self.catalogue.items
        layout = self.towers.model.layout
        return FoldIn.of(users.vectors[users.warm], items.vectors, items.warm, layout, self.training.fold_in)

    def with_items(self, vectors: NDArray[np.float32], duration: NDArray[np.float64]) -> Histories:
        """Return histories that may have further items, whose rows follow the catalogue's.

        Args:
            vectors: float32 (n, dim) of these items.
            duration: float64 (n,), nan where not known.
        """
        known = self.catalogue.item_duration
        longer = None if known is None else np.append(known, duration)
        other = replace(self, catalogue=replace(self.catalogue, item_duration=longer))
        other.__dict__["folding"] = self.folding.with_items(vectors)
        return other

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

    def targets(
        self, rows: Rows, labels: ArrayLike | None = None, duration: NDArray[np.float64] | None = None
    ) -> Targets:
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
        if self.towers.encoder.schema.label is None:
            raise DataError("a model trained without labels can't use labels; leave them out")
        if values.shape != rows.shape or not np.isfinite(values).all():
            raise DataError(
                f"there must be one finite label for each of the {len(rows)} items, got {values.tolist()}"
            )
        if duration is None and self.catalogue.item_duration is not None:
            duration = self.catalogue.item_duration[rows]
        target, training = self.towers.target, self.training
        drawn = label_targets(target, training.positive, training.objective, values, duration, len(rows))
        return target.as_scores(drawn)

    def liked(
        self, rows: Rows, labels: NDArray[np.float64] | None, duration: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the targets of items of which some may have no label: those are positives.

        Args:
            rows: item rows (n,).
            labels: (n,), nan for items without one; None if none has one.
            duration: as in `targets`.

        Raises:
            DataError: labels for a model that was trained without.
        """
        targets = np.full(len(rows), self.training.fold_in.positive)
        if labels is not None and (given := np.isfinite(labels)).any():
            own = None if duration is None else duration[given]
            targets[given] = self.targets(rows[given], labels[given], own)
        return targets

    def explained(self, vector: NDArray[np.float32], rows: Rows, targets: Targets, of: Rows) -> pl.DataFrame:
        """Return what each item of a user adds to the scores of the given items.

        Args:
            vector: float32 (dim,) of the user.
            rows: item rows (n,) of the user.
            targets: (n,) of their scores, None for positives.
            of: item rows (m,) whose scores are explained, at least one.

        Returns:
            One row a pair, m x n, the largest contributions of each scored item first: item id (``item_``
                before it if another column has its name), ``because_`` item id, ``contribution``, ``base``
                and ``score``, which is the base and all contributions together.
        """
        if not len(of):
            raise ConfigError("explain needs at least one item to explain, got none")
        base, parts = self.folding.explain(vector, rows, targets, of)
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
