"""`RowQueries`: queries as rows of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.towers import SideArrays

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RowQueries:
    """What n queries are made of, with ids as rows and features encoded.

    Attributes:
        rows: int64 (n,), the row of each user in the model, -1 for someone new.
        items: int64 item rows that each brings, besides those of the training set.
        values: float64 (m,), what each of these says, see `Histories.values`; nan for one that is seen and
            says nothing.
        times: float64 (m,) seconds since 1970-01-01 UTC, nan where not said; None without any.
        at: float64 (n,) seconds, when each is asked, nan for now; None for all now.
        described: int64 (k,), places of those with features.
        features: what the user tower reads of these; None without any.
        context: in what context each is asked, n rows; None if nothing is known of any.
    """

    rows: Rows
    items: Lists
    values: F64
    times: F64 | None = None
    at: F64 | None = None
    described: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    features: SideArrays | None = None
    context: SideArrays | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether the model knows the user, bool (n,)."""
        return self.rows >= 0

    @cached_property
    def has_features(self) -> NDArray[np.bool_]:
        """Whether there are features, bool (n,)."""
        found = np.zeros(len(self), dtype=np.bool_)
        found[self.described] = True
        return found

    @cached_property
    def in_context(self) -> NDArray[np.bool_]:
        """Whether anything is known of the context, bool (n,)."""
        if self.context is None:
            return np.zeros(len(self), dtype=np.bool_)
        known: NDArray[np.bool_] = self.context.warm.cpu().numpy() > 0
        return known

    @classmethod
    def joined(cls, parts: Sequence[RowQueries]) -> RowQueries:
        """Return the queries of several, at least one, one after another; all or none have a context."""
        if len(parts) == 1:
            return parts[0]
        starts = np.cumsum([0, *(len(part) for part in parts)])
        described = [part.described + start for part, start in zip(parts, starts[:-1], strict=True)]
        features = [part.features for part in parts if part.features is not None]
        context = [part.context for part in parts if part.context is not None]
        return cls(
            np.concatenate([part.rows for part in parts]),
            Lists.from_lengths(
                np.concatenate([part.items.lengths for part in parts]),
                np.concatenate([part.items.values for part in parts]),
            ),
            np.concatenate([part.values for part in parts]),
            _joined([(part.times, len(part.values)) for part in parts]),
            _joined([(part.at, len(part)) for part in parts]),
            np.concatenate(described),
            SideArrays.joined(features) if features else None,
            SideArrays.joined(context) if context else None,
        )


def _joined(parts: Sequence[tuple[F64 | None, int]]) -> F64 | None:
    """Return numbers one after another, nan where a part has none; None if no part has any."""
    if all(values is None for values, _ in parts):
        return None
    return np.concatenate([np.full(n, np.nan) if values is None else values for values, n in parts])
