"""`StoredPairs`: training pairs on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twotower.core.columns import release, spans
from twotower.core.lists import cuts
from twotower.core.scratch import Scratch
from twotower.data.grouped import GroupedEvents
from twotower.data.store.transposing import entries_by_item, item_pointers
from twotower.kernels.pairs import Pairs, refuse

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredPairs(Pairs):
    """Pairs whose columns are memory-mapped; what is made of them is written to disk too.

    Attributes:
        space: a folder on the disk for further columns.
    """

    space: Path = Path()

    @classmethod
    def of(cls, events: GroupedEvents, space: Path, values: Iterable[NDArray[np.float32]]) -> Self:
        """Return a pair an interaction.

        Args:
            events: the interactions; users and items are the rows of the towers.
            space: as the attribute.
            values: what is learned of each, block by block.

        Raises:
            DataError: a target or a weight is not finite in float32.
        """
        weight = events.weight
        mean = 1.0
        if weight is not None:
            total = sum(float(weight[part].sum(dtype=np.float64)) for part in spans(len(weight)))
            mean = max(total / max(len(weight), 1), 1e-12)
        with Scratch(space) as scratch:
            labels = scratch.column("label", np.float32)
            weights = None if weight is None else scratch.column("weight", np.float32)
            for block, label in zip(events.blocks(), values, strict=True):
                refuse("label", label, ~np.isfinite(label), "must be finite in float32")
                labels.append(label)
                if weights is not None:
                    weights.append(block.columns["weight"].astype(np.float32) / np.float32(mean))
            label = scratch.take("label")
            release(*events.columns.values())
            return cls(
                events.indptr,
                events.item,
                label,
                None if weights is None else scratch.take("weight"),
                space=space,
            )

    def by_item(self, n_items: int) -> StoredPairs:
        """Return the transpose; see `Pairs.by_item`."""
        pointers = item_pointers(self.item, n_items)
        with Scratch(self.space) as scratch:
            users, labels = scratch.column("user", np.int32), scratch.column("label", np.float32)
            weights = None if self.weight is None else scratch.column("weight", np.float32)
            for user, place in entries_by_item(self.indptr, self.item, pointers):
                users.append(user)
                labels.append(self.label[place])
                if weights is not None and self.weight is not None:
                    weights.append(self.weight[place])
            taken = [scratch.take(name) for name in ("user", "label")]
            weight = None if weights is None else scratch.take("weight")
            return StoredPairs(pointers, taken[0], taken[1], weight, space=self.space)

    def release(self) -> None:
        """Give back the memory of what was read; it is read again from disk, or from the system's cache."""
        release(self.item, self.label, self.weight)

    def parts(self) -> Iterator[tuple[int, Pairs]]:
        """Yield the pairs of users that follow one another, in memory, and the first user's row."""
        for first, last in cuts(self.indptr):
            yield first, self._between(first, last)

    def rescaled(self, users: F32 | None = None, items: F32 | None = None) -> StoredPairs:
        """Return the pairs with their weights multiplied by factors; see `Pairs.rescaled`."""
        with Scratch(self.space) as scratch:
            weights = scratch.column("weight", np.float32)
            for first, part in self.parts():
                scaled = part.rescaled(None if users is None else users[first:], items).weight
                assert scaled is not None
                weights.append(scaled)
            return replace(self, weight=scratch.take("weight"))

    def normalised(self, mean: float) -> StoredPairs:
        """Return the pairs with a constant subtracted from the labels, and weights of mean 1."""
        weight, total = self.weight, 0.0
        if weight is not None:
            total = sum(float(weight[part].sum(dtype=np.float64)) for part in spans(len(weight)))
        with Scratch(self.space) as scratch:
            labels, weights = (scratch.column(name, np.float32) for name in ("label", "weight"))
            for part in spans(len(self)):
                labels.append(self.label[part] - np.float32(mean))
                given = np.ones(part.stop - part.start, np.float32)
                if weight is not None and total > 0.0:
                    given = weight[part] / (total / len(self))
                weights.append(given)
            return replace(self, label=scratch.take("label"), weight=scratch.take("weight"))

    def with_zeros_of(
        self, more: Iterable[tuple[int, NDArray[np.int64], NDArray[np.int64]]], weight: float
    ) -> StoredPairs:
        """Return the pairs and further ones of target 0.

        Args:
            more: users and items of these: those of the first users, the row after the last of whom stands
                first, then those of the next, and so on.
            weight: of each of them.
        """
        counts, first = [], 0
        with Scratch(self.space) as scratch:
            types = {"item": np.int32, "label": np.float32, "weight": np.float32}
            columns = {name: scratch.column(name, dtype) for name, dtype in types.items()}
            for last, user, item in more:
                part = self._between(first, last).with_zeros(user - first, item, weight)
                counts.append(part.lists.lengths)
                for name, column in columns.items():
                    column.append(getattr(part, name))
                first = last
            indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
            taken = {name: scratch.take(name) for name in types}
            return StoredPairs(indptr, space=self.space, **taken)

    def _between(self, first: int, last: int) -> Pairs:
        """Return the pairs of the users from ``first`` up to ``last``, in memory."""
        rows = slice(int(self.indptr[first]), int(self.indptr[last]))
        weight = None if self.weight is None else self.weight[rows]
        indptr = self.indptr[first : last + 1] - self.indptr[first]
        return Pairs(indptr, self.item[rows], self.label[rows], weight)
