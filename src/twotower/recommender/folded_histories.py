"""`FoldedHistories`: vectors from histories in closed form, with the item vectors fixed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from twotower.recommender.histories import F32, F64, Histories, Reasons, Rows
from twotower.recommender.row_queries import RowQueries
from twotower.towers import SideArrays


@dataclass(frozen=True, repr=False)
class FoldedHistories(Histories):
    """Vectors start from training or from features, and a history moves them; see `FoldIn`."""

    def values(self, rows: Rows, labels: F64 | None, duration: F64 | None = None) -> F64:
        """Return the targets of the scores, that of a positive for items without a label."""
        targets = np.full(len(rows), self.training.fold_in.positive)
        if labels is not None and (given := np.isfinite(labels)).any():
            own = None if duration is None else duration[given]
            targets[given] = self.targets(rows[given], labels[given], own)
        return targets

    def vectors(self, asked: RowQueries) -> F32:
        """Fold in the history of each query.

        What is known of a user without the history, from training or from features, is what its items are
        weighed against.
        """
        known = self.catalogue.users.vectors
        if asked.known.all():
            vectors = known[asked.rows]
        else:
            vectors = np.empty((len(asked), known.shape[1]), dtype=np.float32)
            vectors[:] = self.folding.typical
            vectors[asked.known] = known[asked.rows[asked.known]]
            if asked.features is not None:
                vectors[asked.described] = self.towers.vectors(asked.features, "users")
        unmoved = ~(asked.known | asked.has_features)
        for place in np.flatnonzero(asked.items.lengths).tolist():
            items, targets = asked.items[place], asked.values[asked.items.span(place)]
            if unmoved[place]:
                vectors[place] = self.folding.vector(items, targets)
            else:
                trained = self._trained(int(asked.rows[place]))
                vectors[place] = self.folding.moved(vectors[place], *trained, items, targets)
        return vectors

    def reasons(self, vector: F32, asked: RowQueries) -> Reasons:
        """Divide scores exactly; an item that is there twice is two reasons."""
        trained, of_trained = self._trained(int(asked.rows[0]))
        items, targets = np.append(trained, asked.items[0]), np.append(of_trained, asked.values)
        return Reasons(items, lambda rows: self.folding.explain(vector, items, targets, rows))

    def with_items(self, vectors: F32, duration: F64, arrays: SideArrays | None) -> Self:
        """Return histories that may have further items."""
        other = replace(self, catalogue=self._longer(duration))
        other.__dict__["folding"] = self.folding.with_items(vectors)
        return other

    def _trained(self, row: int) -> tuple[Rows, F64]:
        """Return a user's items in the training set, none for someone new, and their targets."""
        if row < 0:
            return np.empty(0, np.int64), np.empty(0)
        items, targets = self.of(row)
        return items, self.values(items, None) if targets is None else targets
