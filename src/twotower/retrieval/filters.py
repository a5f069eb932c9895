"""Filters of a search: the items allowed or denied for everyone, by row or by columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twotower.errors import DataError


@dataclass(frozen=True, eq=False)
class Where:
    """Conditions on columns of the items. An index of a vector database passes them on.

    Attributes:
        conditions: what each column must have, all of them checked; see
            `twotower.recommender.display.Filters`.
        rows: returns the item rows that meet all conditions, ascending.
    """

    conditions: Mapping[str, Any]
    rows: Callable[[], NDArray[np.int32]]

    def among(self, rows: NDArray[np.int32] | None) -> NDArray[np.int32]:
        """Return which of some rows, ascending, meet the conditions; None is all."""
        met = self.rows()
        return met if rows is None else np.intersect1d(rows, met, assume_unique=True)


def candidate_rows(allow: ArrayLike | None, deny: ArrayLike | None, n_items: int) -> NDArray[np.int32] | None:
    """Return the rows in ``allow`` and not in ``deny``, ascending, each once; None if that is every item.

    Args:
        allow, deny: a mask (n_items,) bool, or item rows in any order; None allows all and denies none.
        n_items: the catalogue's size.

    Raises:
        DataError: a mask of another length, rows that are not whole numbers, or an unknown item.
    """
    if deny is None:
        return None if allow is None else _chosen("allow", allow, n_items)
    denied = _chosen("deny", deny, n_items)
    if allow is not None:
        return np.setdiff1d(_chosen("allow", allow, n_items), denied, assume_unique=True)
    if not denied.size:
        return None
    rest = np.ones(n_items, dtype=np.bool_)
    rest[denied] = False
    return np.flatnonzero(rest).astype(np.int32)


def _chosen(name: str, given: ArrayLike, n_items: int) -> NDArray[np.int32]:
    """Rows of a mask or of a list, ascending, each once."""
    array = np.asarray(given)
    if array.dtype == np.bool_:
        if array.shape != (n_items,):
            raise DataError(
                f"`{name}` as a mask must have shape ({n_items},), a value for each item; got {array.shape}."
            )
        return np.flatnonzero(array).astype(np.int32)
    return np.unique(_item_rows(name, array, n_items))


def _item_rows(name: str, given: NDArray[np.generic], n_items: int) -> NDArray[np.int32]:
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise DataError(
            f"`{name}` must hold item rows (integers, one axis); got {given.dtype} of shape {given.shape}."
        )
    if given.size and (given.min() < 0 or given.max() >= n_items):
        raise DataError(f"`{name}` must name items in [0, {n_items}); got {given.min()} to {given.max()}.")
    return np.ascontiguousarray(given, dtype=np.int32)
