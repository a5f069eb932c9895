"""`Pool`: what a list may be made of, and how places in it relate to rows of the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """The items that n queries may be given. Candidates name them by their places.

    Attributes:
        n_items: how many items the model knows.
        rows: the model's row of each place, -1 for an item that it doesn't know; None if places are rows of
            the model.
        barred: places that each query is never given; None for none.
        allowed: places, or a mask of them, that may be given to anyone; None for all.
    """

    n_items: int
    rows: Rows | None = None
    barred: Lists | None = None
    allowed: NDArray[np.integer | np.bool_] | None = None

    @cached_property
    def places(self) -> Rows:
        """The place of each of the model's items, int64 (n_items,); -1 where nobody may be given it.

        Of an item that has two places, the later one: a server hides the earlier.
        """
        if self.rows is None:
            places = np.arange(self.n_items)
        else:
            places = np.full(self.n_items, -1)
            known = np.flatnonzero(self.rows >= 0)
            places[self.rows[known]] = known
        if self.allowed is not None:
            open_ = np.zeros(self.size, np.bool_)
            open_[self.allowed] = True
            places[(places >= 0) & ~open_[places]] = -1
        return places

    def rows_of(self, places: NDArray[np.integer]) -> Rows:
        """Return the model's row of each of some places, int64; -1 for an item that it doesn't know."""
        return places.astype(np.int64) if self.rows is None else self.rows[places]

    @property
    def size(self) -> int:
        """How many places there are."""
        return self.n_items if self.rows is None else len(self.rows)

    def barred_of(self, n: int) -> Lists:
        """Return the barred places of n queries."""
        return Lists.empty(n) if self.barred is None else self.barred

    def between(self, first: int, last: int) -> Pool:
        """Return the pool of the queries from ``first`` up to ``last``."""
        return replace(self, barred=None if self.barred is None else self.barred.between(first, last))
