"""`ItemLists`: a list of item rows for each user, such as the items seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twotower.core.wording import count_of
from twotower.errors import DataError

ItemLists = tuple[NDArray[np.int64], NDArray[np.int32]]
"""Pointers (n_users + 1,) and item rows (n,): user ``u`` has the rows ``pointers[u]:pointers[u + 1]``."""


def no_items(n_users: int) -> ItemLists:
    """Return an empty list for every user.

    >>> no_items(2)
    (array([0, 0, 0]), array([], dtype=int32))
    """
    return np.zeros(n_users + 1, dtype=np.int64), np.empty(0, dtype=np.int32)


def check_lists(name: str, lists: ItemLists, n_users: int, n_items: int | None = None) -> ItemLists:
    """Return lists in the types of `ItemLists`, contiguous, after checking them.

    Args:
        name: what the lists are, for messages.
        lists: pointers and item rows, of any integer type.
        n_users: the required number of lists.
        n_items: upper bound of item rows (exclusive); None for no bound.

    Raises:
        DataError: pointers don't rise from 0 to the number of item rows, or an item does not exist.
    """
    pointers, rows = np.asarray(lists[0]), np.asarray(lists[1])
    if (
        pointers.shape != (n_users + 1,)
        or pointers.dtype.kind not in "iu"
        or pointers[0] != 0
        or pointers[-1] != rows.size
        or (pointers[1:] < pointers[:-1]).any()
    ):
        raise DataError(
            f"{name} must be (pointers, item rows), the pointers {n_users + 1} integers rising from 0 to "
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
    return np.ascontiguousarray(pointers, np.int64), np.ascontiguousarray(rows, np.int32)


def take_lists(lists: ItemLists, users: NDArray[np.int64]) -> ItemLists:
    """Return the lists of some users (rows), in their order."""
    pointers, rows = lists
    length = pointers[users + 1] - pointers[users]
    taken = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    within = np.arange(taken[-1]) - np.repeat(taken[:-1], length)
    return taken, rows[np.repeat(pointers[users], length) + within]


def distinct_items(
    lists: ItemLists, labels: NDArray[np.float32] | None, user: int
) -> tuple[NDArray[np.int32], NDArray[np.float32] | None]:
    """Return each item of a user once, with its highest label, the highest label first.

    Args:
        lists: lists in which an item may be several times, as of people who come back to it.
        labels: the label of each entry of ``lists``; None without labels.
        user: whose list.

    >>> lists = np.array([0, 3]), np.array([7, 5, 7], dtype=np.int32)
    >>> distinct_items(lists, np.array([1, 2, 4], dtype=np.float32), 0)
    (array([7, 5], dtype=int32), array([4., 2.], dtype=float32))
    """
    part = slice(int(lists[0][user]), int(lists[0][user + 1]))
    rows, of_rows = lists[1][part], None if labels is None else labels[part]
    if of_rows is not None:
        order = np.argsort(-of_rows, kind="stable")
        rows, of_rows = rows[order], of_rows[order]
    first = np.sort(np.unique(rows, return_index=True)[1])
    return rows[first], None if of_rows is None else of_rows[first]
