"""`RowSource`: interactions as a split method sees them, in blocks, in memory or on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset

Codes = npt.NDArray[np.int64]
Role = Literal["user", "item", "time"]


class RowSource(ABC):
    """The n interactions that a split method chooses from, in order.

    Users and items are codes: whole numbers from 0, ordered by id; some codes may have no rows.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def blocks(self, *roles: Role) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """Yield the columns of all rows in blocks: a user's or an item's code; seconds as float64, nan where
        unknown."""

    @abstractmethod
    def sizes(self, role: Literal["user", "item"]) -> Codes:
        """Return the number of rows of each code, (n_codes,)."""

    @abstractmethod
    def span(self, role: Literal["user", "item"]) -> int:
        """Return how many codes `codes_of` has for these ids."""


class DatasetRows(RowSource):
    """The interactions of a dataset in memory."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def _users(self) -> Codes:
        return codes_of(self.data.interactions.get_column(self.data.schema.user))

    @cached_property
    def _items(self) -> Codes:
        return codes_of(self.data.interactions.get_column(self.data.schema.item))

    def _column(self, role: Role) -> npt.NDArray[Any]:
        return self.data.times() if role == "time" else self._users if role == "user" else self._items

    def blocks(self, *roles: Role) -> Iterator[tuple[npt.NDArray[Any], ...]]:
        """Yield all rows as one block."""
        yield tuple(self._column(role) for role in roles)

    def sizes(self, role: Literal["user", "item"]) -> Codes:
        """Count them."""
        return np.bincount(self._column(role))

    def span(self, role: Literal["user", "item"]) -> int:
        """Return the largest code and 1."""
        return int(self._column(role).max(initial=-1)) + 1


def codes_of(ids: pl.Series) -> Codes:
    """Return an integer code from 0 for each id, ordered by id; some codes may have no rows."""
    if ids.dtype.is_integer() and len(ids):
        low, high = cast(int, ids.min()), cast(int, ids.max())
        if dense(low, high, len(ids)):
            return ids.cast(pl.Int64).to_numpy() - low
    return Vocabulary.distinct(ids).rows(ids)


def dense(low: int, high: int, rows: int) -> bool:
    """Return whether whole numbers are so close together that the number itself serves as the code."""
    return high - low <= 2 * rows + 1024
