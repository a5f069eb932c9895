"""`Pairs`: the interaction matrix: pairs of a user row and an item row with their labels, grouped by user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from twotower.core.lists import Lists
from twotower.errors import DataError

_INT32_MAX = np.iinfo(np.int32).max
T = TypeVar("T", bound=np.generic)


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

    def by_item(self, n_items: int) -> Pairs:
        """Return the transpose: items as rows, each with its users (in ``item``) in ascending order."""
        return _grouped(self.item.astype(np.int64), self.user, self.label, self.weight, self.time, n_items)

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
        users = _index_column("user", user, None, n_users)
        items = _index_column("item", item, users.size, _INT32_MAX)
        labels = _float_column("label", label, users.size)
        weights = None if weight is None else _float_column("weight", weight, users.size)
        if weights is not None:
            _refuse("weight", weights, weights < 0, "must not be negative")
        return _grouped(users, items.astype(np.int32), labels, weights, time, n_users)


def _grouped(
    user: NDArray[np.int64],
    item: NDArray[np.int32],
    label: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    time: NDArray[np.float64] | None,
    n_users: int,
) -> Pairs:
    indptr, place = _group(user, n_users)
    weight = None if weight is None else _scatter(weight, place)
    time = None if time is None else _scatter(time, place)
    return Pairs(indptr, _scatter(item, place), _scatter(label, place), weight, time)


@njit(cache=True)
def _group(user, n_users):  # type: ignore[no-untyped-def]
    """Row pointers (n_users + 1,) and each pair's position (n,) after a stable sort by ``user`` (n,)."""
    indptr = np.zeros(n_users + 1, dtype=np.int64)
    for u in user:
        indptr[u + 1] += 1
    for u in range(n_users):
        indptr[u + 1] += indptr[u]
    free = indptr[:-1].copy()
    place = np.empty(user.size, dtype=np.int64)
    for p in range(user.size):
        place[p] = free[user[p]]
        free[user[p]] += 1
    return indptr, place


def _scatter(values: NDArray[T], place: NDArray[np.int64]) -> NDArray[T]:
    out = np.empty_like(values)
    out[place] = values
    return out


def _index_column(name: str, values: ArrayLike, size: int | None, bound: int) -> NDArray[np.int64]:
    column = _column(name, np.asarray(values), size)
    if column.size and column.dtype.kind not in "iu":
        raise DataError(f"`{name}` must contain row numbers (integers); got dtype {column.dtype}.")
    _refuse(name, column, (column < 0) | (column >= bound), f"must lie in [0, {bound})")
    return column.astype(np.int64, copy=False)


def _float_column(name: str, values: ArrayLike, size: int) -> NDArray[np.float32]:
    column = _column(name, np.asarray(values), size)
    if column.size and column.dtype.kind not in "iufb":
        raise DataError(f"`{name}` must contain numbers; got dtype {column.dtype}.")
    column = column.astype(np.float32, copy=False)
    _refuse(name, column, ~np.isfinite(column), "must be finite in float32")
    return column


def _column(name: str, column: NDArray[T], size: int | None) -> NDArray[T]:
    if column.ndim != 1:
        raise DataError(f"`{name}` must be one-dimensional; got shape {column.shape}.")
    if size is not None and column.size != size:
        raise DataError(f"`{name}` must have the length of `user` ({size}); got {column.size}.")
    return column


def _refuse(name: str, column: NDArray[Any], bad: NDArray[np.bool_], rule: str) -> None:
    if bad.any():
        at = int(bad.argmax())
        raise DataError(f"`{name}` {rule}; got {column[at]} at position {at}.")
