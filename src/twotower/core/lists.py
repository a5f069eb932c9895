"""`Lists`: a list of values for each row, such as the items that each user has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.core.warn import deprecated
from twotower.core.wording import count_of
from twotower.errors import DataError

Rows = NDArray[np.int64]
BLOCK = 1 << 20
"""Values of lists that are in memory at once, unless one list has more."""


@dataclass(frozen=True, eq=False, repr=False)
class Lists:
    """Lists of different lengths, one after another: row ``r`` has ``values[indptr[r]:indptr[r + 1]]``.

    The constructor does not validate, so that a training step can make lists cheaply; `check` does.

    Attributes:
        indptr: int64 (n + 1,), rising from 0 to the number of values.
        values: (n_values,), int32 for item rows.

    >>> lists = Lists.from_groups([[7, 5], [], [7]])
    >>> len(lists), lists[0].tolist(), lists.owners().tolist(), lists.of(np.array([2, 0]))
    (3, [7, 5], [0, 0, 2], Lists([[7], [7, 5]]))
    """

    indptr: Rows
    values: NDArray[Any]

    @classmethod
    def empty(cls, n: int) -> Lists:
        """Return n empty lists of item rows."""
        return cls(np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int32))

    @classmethod
    def from_lengths(cls, lengths: NDArray[np.integer | np.bool_], values: NDArray[Any]) -> Lists:
        """Cut values into lists of the given lengths (n,)."""
        return cls(_ends(lengths), values)

    @classmethod
    def from_groups(cls, groups: Sequence[Sequence[int] | NDArray[np.integer]]) -> Lists:
        """Make lists of item rows from a sequence for each row."""
        if len(groups) == 1:  # the most frequent case in serving
            (only,) = groups
            return cls(np.array([0, len(only)]), np.asarray(only, dtype=np.int32))
        lengths = np.array([len(group) for group in groups], dtype=np.int64)
        values = np.concatenate([np.empty(0, np.int32), *groups]).astype(np.int32, copy=False)
        return cls.from_lengths(lengths, values)

    @classmethod
    def from_arrays(cls, owners: NDArray[np.integer], values: NDArray[Any], n: int) -> Lists:
        """Make n lists from pairs of a row and a value; in a list, values keep the order given.

        Args:
            owners: (n_values,) the row of each value, from 0 to n - 1 in any order.
            values: (n_values,).
            n: number of lists.
        """
        if not (owners[1:] >= owners[:-1]).all():
            order = np.argsort(owners, kind="stable")
            values = values[order]
        return cls.from_lengths(np.bincount(owners, minlength=n), values)

    @classmethod
    def check(cls, name: str, given: Any, n: int, n_items: int | None = None) -> Lists:
        """Return lists of item rows, contiguous and of the types above, after checking them.

        Args:
            name: what the lists are, for messages.
            given: `Lists`, or pointers and item rows as a tuple, of any integer type; None for empty lists.
            n: the required number of lists.
            n_items: upper bound of item rows (exclusive); None for no bound.

        Raises:
            DataError: pointers don't rise from 0 to the number of item rows, or an item does not exist.
        """
        if given is None:
            return cls.empty(n)
        pointers, rows = (np.asarray(one) for one in (given.arrays if isinstance(given, Lists) else given))
        if (
            pointers.shape != (n + 1,)
            or pointers.dtype.kind not in "iu"
            or pointers[0] != 0
            or pointers[-1] != rows.size
            or (pointers[1:] < pointers[:-1]).any()
        ):
            raise DataError(
                f"{name} must be (pointers, item rows), the pointers {n + 1} integers rising from 0 to "
                f"the number of item rows, got {pointers.dtype} of shape {pointers.shape} for "
                f"{count_of(rows.size, 'item')}. Pass one list per user; it may be empty."
            )
        if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
            raise DataError(
                f"{name} must contain item rows (integers, one axis), got {rows.dtype} of shape {rows.shape}."
            )
        if rows.size and (rows.min() < 0 or (n_items is not None and rows.max() >= n_items)):
            bound = "from 0 on" if n_items is None else f"0 to {n_items - 1}"
            raise DataError(
                f"item rows in {name} must be {bound}, got {rows.min()} to {rows.max()}; build it for these "
                "items."
            )
        return cls(np.ascontiguousarray(pointers, np.int64), np.ascontiguousarray(rows, np.int32))

    @property
    def arrays(self) -> tuple[Rows, NDArray[Any]]:
        """``(indptr, values)``, as kernels take them."""
        return self.indptr, self.values

    @property
    def lengths(self) -> Rows:
        """The length of each list, int64 (n,)."""
        return self.indptr[1:] - self.indptr[:-1]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> NDArray[Any]:
        return self.values[self.span(row)]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        deprecated("lists as a tuple", "lists.indptr and lists.values, or lists[row]")
        return iter(self.arrays)

    def __repr__(self) -> str:
        shown = [self[row].tolist() for row in range(min(len(self), 5))]
        return f"Lists({shown})" if len(self) <= len(shown) else f"Lists({str(shown)[:-1]}, ...])"

    def span(self, row: int) -> slice:
        """Return where a list is in ``values``, and in any other array of a value an entry."""
        return slice(int(self.indptr[row]), int(self.indptr[row + 1]))

    def owners(self) -> Rows:
        """Return the row of each value, int64 (n_values,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def of(self, rows: Rows) -> Lists:
        """Return the lists of some rows, in their order."""
        places = self.places(rows)
        return Lists(places.indptr, self.values[places.values])

    def places(self, rows: Rows) -> Lists:
        """Return where in ``values`` the lists of some rows are."""
        start, length = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        ends = _ends(length)
        within = np.arange(ends[-1]) - np.repeat(ends[:-1], length)
        return Lists(ends, np.repeat(start, length) + within)

    def of_many(self, rows: Rows) -> Lists:
        """Return what `of` does, in memory that is little more than the values."""
        lengths = self.lengths[rows]
        parts = [self.of(rows[first:last]).values for first, last in cuts(_ends(lengths))]
        return Lists.from_lengths(lengths, np.concatenate([self.values[:0], *parts]))

    def between(self, first: int, last: int) -> Lists:
        """Return the lists of the rows from ``first`` up to ``last``, without a copy of their values."""
        start, stop = self.indptr[first], self.indptr[last]
        return Lists(self.indptr[first : last + 1] - start, self.values[start:stop])

    def where(self, kept: NDArray[np.bool_]) -> Lists:
        """Return the lists with only the values that are true in ``kept`` (n_values,)."""
        return Lists(_ends(kept)[self.indptr], self.values[kept])


def cuts(ends: Rows, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield ranges of lists, from the first up to the last, that together have at most ``size`` values; a
    list that has more is one.

    Args:
        ends: int64 (n + 1,), the pointers of n lists.
        size: of a range; None for `BLOCK`.

    >>> list(cuts(np.array([0, 2, 2, 9, 10]), 3))
    [(0, 2), (2, 3), (3, 4)]
    """
    first, n, most = 0, len(ends) - 1, BLOCK if size is None else size
    while first < n:
        last = int(np.searchsorted(ends, ends[first] + most, side="right")) - 1
        last = min(max(last, first + 1), n)
        yield first, last
        first = last


AnyLists = Lists | tuple[NDArray[np.integer], NDArray[np.integer]]
"""Lists as public functions take them: ``(pointers, values)`` will do, see `Lists.check`."""


def _ends(lengths: NDArray[Any]) -> Rows:
    ends = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends


def distinct_items(
    lists: Lists, labels: NDArray[np.float32] | None, row: int
) -> tuple[NDArray[np.int32], NDArray[np.float32] | None]:
    """Return each item of a list once, with its highest label, the highest label first.

    Args:
        lists: lists in which an item may be several times, as of people who come back to it.
        labels: the label of each entry of ``lists``; None without labels.
        row: which list.

    >>> distinct_items(Lists.from_groups([[7, 5, 7]]), np.array([1, 2, 4], dtype=np.float32), 0)
    (array([7, 5], dtype=int32), array([4., 2.], dtype=float32))
    """
    rows, of_rows = lists[row], None if labels is None else labels[lists.span(row)]
    if of_rows is not None:
        order = np.argsort(-of_rows, kind="stable")
        rows, of_rows = rows[order], of_rows[order]
    first = np.sort(np.unique(rows, return_index=True)[1])
    return rows[first], None if of_rows is None else of_rows[first]
