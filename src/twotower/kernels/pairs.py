"""`Pairs`: the interaction matrix: pairs of a user row and an item row with their labels, grouped by user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from twotower.core.lists import Lists
from twotower.errors import DataError

_INT32_MAX = np.iinfo(np.int32).max


@dataclass(frozen=True, eq=False)
class Pairs:
    """Labelled (user row, item row) pairs, grouped: user ``u`` has positions ``indptr[u]:indptr[u + 1]``.

    A sparse matrix of users and items, whose cells may have several entries.
    Grouping lets the pair loop keep a user's vector and gradient in cache for all of the user's pairs. The
    constructor does not validate, so that a training step can build pairs cheaply; `from_arrays` validates
    everything. Items may be in any order within a user; ascending order is fastest.

    Attributes:
        indptr: (n_users + 1,) int64, from 0 to n, non-decreasing; a user without pairs has an empty range.
        item: (n,) int32, the row of the item in ``V``.
        label: (n,) float32.
        weight: (n,) float32, not negative; None means that every pair has weight 1.
        time: (n,) float64, seconds since 1970-01-01 UTC, nan where unknown; None means that no time is
            needed.
    """

    indptr: NDArray[np.int64]
    item: NDArray[np.int32]
    label: NDArray[np.float32]
    weight: NDArray[np.float32] | None = None
    time: NDArray[np.float64] | None = None

    @property
    def n_users(self) -> int:
        """Number of user rows, including those without pairs."""
        return self.indptr.size - 1

    @property
    def lists(self) -> Lists:
        """The items of each user."""
        return Lists(self.indptr, self.item)

    @cached_property
    def user(self) -> NDArray[np.int32]:
        """The user row of each pair, int32 (n,)."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.lists.lengths)

    def scaled(self, factor: NDArray[np.float32]) -> Pairs:
        """Return the pairs with their weights multiplied by factors (n,)."""
        return replace(self, weight=factor if self.weight is None else self.weight * factor)

    def rescaled(
        self, users: NDArray[np.float32] | None = None, items: NDArray[np.float32] | None = None
    ) -> Pairs:
        """Return the pairs with their weights multiplied by a factor of each user, or of each item."""
        scaled = self if users is None else self.scaled(users[self.user])
        return scaled if items is None else scaled.scaled(items[self.item])

    def with_zeros(self, user: NDArray[np.int64], item: NDArray[np.int64], weight: float) -> Pairs:
        """Return the pairs and further ones (m,) of target 0, each of this weight."""
        own = np.ones(len(self), np.float32) if self.weight is None else self.weight
        return Pairs.from_arrays(
            np.append(self.user, user),
            np.append(self.item, item),
            np.append(self.label, np.zeros(len(user), np.float32)),
            np.append(own, np.full(len(user), weight, np.float32)),
            n_users=self.n_users,
        )

    def parts(self) -> Iterator[tuple[int, Pairs]]:
        """Yield the pairs in parts that are in memory, and the row of each part's first user: all at once."""
        yield 0, self

    def release(self) -> None:
        """Give back memory that the pairs take only while they are read; there is none here."""
        return None

    def by_item(self, n_items: int) -> Pairs:
        """Return the transpose: items as rows, each with its users (in ``item``) in ascending order."""
        columns = self.user, self.label, self.weight, self.time
        return _grouped(self.item.astype(np.int64), columns, n_items)

    def __len__(self) -> int:
        return self.item.size

    @classmethod
    def from_arrays(
        cls,
        user: ArrayLike,
        item: ArrayLike,
        label: ArrayLike,
        weight: ArrayLike | None = None,
        time: NDArray[np.float64] | None = None,
        *,
        n_users: int,
    ) -> Pairs:
        """Group pairs by user; within a user they keep the order given (a stable counting sort, O(n)).

        Args:
            user, item: (n,) integers; users in ``[0, n_users)``, items from 0.
            label: (n,) finite.
            weight: (n,) finite, not negative; or None.
            time: (n,) seconds, or None.
            n_users: rows of ``U``.

        Raises:
            DataError: a column of the wrong shape or type, or a value out of range; the message names the
                first one.
        """
        users = _column("user", user, None, "iu").astype(np.int64, copy=False)
        items = _column("item", item, users.size, "iu")
        for name, rows, bound in (("user", users, n_users), ("item", items, _INT32_MAX)):
            refuse(name, rows, (rows < 0) | (rows >= bound), f"must lie in [0, {bound})")
        labels, weights = _column("label", label, users.size, "iufb").astype(np.float32, copy=False), None
        refuse("label", labels, ~np.isfinite(labels), "must be finite in float32")
        if weight is not None:
            weights = _column("weight", weight, users.size, "iufb").astype(np.float32, copy=False)
            refuse("weight", weights, ~np.isfinite(weights), "must be finite in float32")
            refuse("weight", weights, weights < 0, "must not be negative")
        return _grouped(users, (items.astype(np.int32), labels, weights, time), n_users)


def _grouped(
    user: NDArray[np.int64],
    columns: tuple[
        NDArray[np.int32], NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float64] | None
    ],
    n_users: int,
) -> Pairs:
    indptr, order = _group(user, n_users)
    item, label, weight, time = columns
    return Pairs(
        indptr,
        item[order],
        label[order],
        None if weight is None else weight[order],
        None if time is None else time[order],
    )


@njit(cache=True)
def _group(user, n_users):  # type: ignore[no-untyped-def]
    """Row pointers (n_users + 1,) and the order (n,) of a stable sort by ``user`` (n,)."""
    indptr = np.zeros(n_users + 1, dtype=np.int64)
    for u in user:
        indptr[u + 1] += 1
    for u in range(n_users):
        indptr[u + 1] += indptr[u]
    free = indptr[:-1].copy()
    order = np.empty(user.size, dtype=np.int64)
    for p in range(user.size):
        order[free[user[p]]] = p
        free[user[p]] += 1
    return indptr, order


def _column(name: str, values: ArrayLike, size: int | None, kinds: str) -> NDArray[Any]:
    column = np.asarray(values)
    if column.ndim != 1:
        raise DataError(f"`{name}` must be one-dimensional; got shape {column.shape}.")
    if size is not None and column.size != size:
        raise DataError(f"`{name}` must have the length of `user` ({size}); got {column.size}.")
    if column.size and column.dtype.kind not in kinds:
        what = "row numbers (integers)" if kinds == "iu" else "numbers"
        raise DataError(f"`{name}` must contain {what}; got dtype {column.dtype}.")
    return column


def refuse(name: str, column: NDArray[Any], bad: NDArray[np.bool_], rule: str) -> None:
    """Raise `DataError` for the first value of a column (n,) that is bad (n,)."""
    if bad.any():
        at = int(bad.argmax())
        raise DataError(f"`{name}` {rule}; got {column[at]} at position {at}.")
