"""`Asked`: queries as the second stage reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Asked:
    """n queries: who asks, what they bring of their past, and when.

    Attributes:
        rows: int64 (n,), the row of each user in the model, -1 for someone new.
        vectors: float32 (n, dim), what the towers make of each.
        brought: item rows that each brings, besides those of the training set.
        grades: float64 (m,), what each of these counts, from 0 to 1; nan for one that is seen and says
            nothing.
        times: float64 (m,) seconds since 1970-01-01 UTC, nan where not said; None without any.
        at: float64 (n,) seconds, when each is asked, nan for now; None for all now.
        features: float32 (n, width) of the users, nan where not known.
        context: float32 (n, width) of the context in which each asks, nan where not known.
    """

    rows: Rows
    vectors: F32
    features: F32
    context: F32
    brought: Lists
    grades: F64 = field(default_factory=lambda: np.empty(0))
    times: F64 | None = None
    at: F64 | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def joined(cls, parts: Sequence[Asked]) -> Asked:
        """Return the queries of several, one after another."""
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.vectors for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.context for part in parts]),
            Lists.from_lengths(
                np.concatenate([part.brought.lengths for part in parts]),
                np.concatenate([part.brought.values for part in parts]),
            ),
            np.concatenate([part.grades for part in parts]),
            _joined([(part.times, len(part.grades)) for part in parts]),
            _joined([(part.at, len(part)) for part in parts]),
        )

    def between(self, first: int, last: int) -> Asked:
        """Return the queries from ``first`` up to ``last``."""
        own = slice(int(self.brought.indptr[first]), int(self.brought.indptr[last]))
        return Asked(
            self.rows[first:last],
            self.vectors[first:last],
            self.features[first:last],
            self.context[first:last],
            self.brought.between(first, last),
            self.grades[own],
            None if self.times is None else self.times[own],
            None if self.at is None else self.at[first:last],
        )


def _joined(parts: Sequence[tuple[F64 | None, int]]) -> F64 | None:
    """Return numbers one after another, nan where a part has none; None if no part has any."""
    if all(values is None for values, _ in parts):
        return None
    return np.concatenate([np.full(n, np.nan) if values is None else values for values, n in parts])
