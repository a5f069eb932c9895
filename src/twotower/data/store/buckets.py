"""`Buckets`: interactions on disk, in groups of users that fit in memory; rows in the order of the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twotower.data.store.spill import Spill, SpilledColumn


@dataclass(frozen=True)
class Bucket:
    """The interactions of some users that follow one another.

    Attributes:
        first, last: the users, from ``first`` up to ``last``.
        start: where the bucket is in the files.
        columns: ``row`` (m,), where each row is in the spill, ascending; ``user`` and ``item`` int32, in the
            order of the ids; and the roles.
    """

    first: int
    last: int
    start: int
    columns: Mapping[str, NDArray[Any]]


class Buckets:
    """All interactions of a spill, grouped by bucket.

    Args:
        spill: with the interactions.
        users: int32 (n_users,), the place of each of the spill's users among the sorted ids.
        items: the same of items.
        sizes: (n_users,) interactions of each user, in the order of the sorted ids.
    """

    rows: ClassVar[int] = 1 << 22
    """Interactions of a bucket, unless one user has more."""

    def __init__(
        self,
        spill: Spill,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        sizes: NDArray[np.int64],
    ) -> None:
        ends = np.cumsum(sizes)
        bucket_of = ((ends - 1) // self.rows).astype(np.int64)  # (n_users,) by its last row, ascending
        _, self._first, bucket = np.unique(bucket_of, return_index=True, return_inverse=True)
        self._first = np.append(self._first, len(sizes))
        self._start = np.append(0, ends[self._first[1:] - 1])
        dtype = np.dtype(np.uint32 if spill.rows <= np.iinfo(np.uint32).max else np.int64)
        types = {"row": dtype} | {name: column.dtype for name, column in spill.columns.items()}
        self.columns = {
            name: SpilledColumn(spill.folder / f"{name}.buckets", of) for name, of in types.items()
        }
        self._fill(spill, users, items, bucket.astype(np.uint16 if len(self) < 1 << 16 else np.int64))

    def __len__(self) -> int:
        return len(self._start) - 1

    def _fill(
        self, spill: Spill, users: NDArray[np.int32], items: NDArray[np.int32], bucket: NDArray[Any]
    ) -> None:
        free = self._start[:-1].copy()
        names = list(spill.columns)
        for first, values in spill.blocks(*names):
            block = dict(zip(names, values, strict=True))
            block["user"], block["item"] = users[block["user"]], items[block["item"]]
            of = bucket[block["user"]]
            order = np.argsort(of, kind="stable")  # a radix sort where there are less than 65,536
            block["row"] = np.arange(first, first + len(of), dtype=self.columns["row"].dtype)
            counts = np.bincount(of, minlength=len(self))
            ends = np.cumsum(counts)
            for name, column in self.columns.items():
                sorted_values = block[name][order]
                for b in np.flatnonzero(counts):
                    column.write(int(free[b]), sorted_values[ends[b] - counts[b] : ends[b]])
            free += counts

    def __iter__(self) -> Iterator[Bucket]:
        for b in range(len(self)):
            start, end = int(self._start[b]), int(self._start[b + 1])
            columns = {name: column.read(start, end) for name, column in self.columns.items()}
            yield Bucket(int(self._first[b]), int(self._first[b + 1]), start, columns)

    def close(self) -> None:
        """Delete the files."""
        for column in self.columns.values():
            column.close()


def by_user_and_time(user: NDArray[np.int32], time: NDArray[Any] | None) -> NDArray[np.int64]:
    """Return the order of m rows by user, then by time (unknown times last), then as they are.

    Args:
        user: (m,) from 0.
        time: (m,) uint32, or float64 with nan where unknown; None leaves the order of a user's rows as it is.
    """
    keys: list[NDArray[Any]] = [user.astype(np.uint32)]
    if time is not None and time.dtype == np.uint32:
        keys.insert(0, time)
    elif (
        time is not None
    ):  # as whole numbers in the same order: the sign is flipped, and negative ones as a whole
        bits = np.where(np.isnan(time), np.nan, time + 0.0).view(np.uint64)
        keys.insert(0, bits ^ np.where(bits >> np.uint64(63), ~np.uint64(0), np.uint64(1) << np.uint64(63)))
    order = np.arange(len(user))
    for key in keys:  # a radix sort, by 16 bits at a time, which numpy sorts in linear time
        for shift in range(0, 8 * key.dtype.itemsize, 16):
            digit = (key >> key.dtype.type(shift)).astype(np.uint16)
            if len(digit) and digit.min() != digit.max():
                order = order[np.argsort(digit[order], kind="stable")]
    return order
