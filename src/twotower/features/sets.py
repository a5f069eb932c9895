"""category and categories: embedding codes, with separate codes for unknown and missing values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from twotower.features.blocks import Bag, Codes
from twotower.features.vocabulary import MISSING, Vocabulary

LEAST, MOST, ROWS_A_COUNT = 2, 5, 100
"""Minimum training rows of a known value: one per this many rows of the column, within these bounds."""


def min_count(rows: int) -> int:
    """Return the minimum training rows of a value, for a column of ``rows`` rows; rarer values are "unknown".

    A value that occurs once is no different from that row's id, and one that occurs a few times does not
    generalise. Rare values share the "unknown" embedding, which is thereby trained. In a small table the
    minimum is low.
    """
    return min(max(rows // ROWS_A_COUNT, LEAST), MOST)


@dataclass(frozen=True)
class CategoryEncoder:
    """Fitted state of a category column."""

    vocabulary: Vocabulary

    @classmethod
    def fit(cls, column: pl.Series) -> CategoryEncoder:
        """Fit the values of a training column."""
        return cls(Vocabulary.fit(column, min_count(len(column))))

    def transform(self, column: pl.Series) -> Codes:
        """Return one code per row."""
        return Codes(self.vocabulary.encode(column), self.vocabulary.size)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.vocabulary.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CategoryEncoder:
        """Rebuild from the JSON form."""
        return cls(Vocabulary.from_state(state))


@dataclass(frozen=True)
class CategoriesEncoder:
    """Fitted state of a categories (list) column."""

    vocabulary: Vocabulary

    @classmethod
    def fit(cls, column: pl.Series) -> CategoriesEncoder:
        """Fit the values in the lists of a training column."""
        return cls(Vocabulary.fit(_entries(column.list.drop_nulls()), min_count(len(column))))

    def transform(self, column: pl.Series) -> Bag:
        """Return one bag per row; an empty or missing list has the code "missing"."""
        lists = column.list.drop_nulls()
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        indptr = np.zeros(len(column) + 1, dtype=np.int64)
        np.cumsum(np.maximum(lengths, 1), out=indptr[1:])
        codes = np.full(indptr[-1], MISSING, dtype=np.int32)
        filled = np.repeat(lengths > 0, np.maximum(lengths, 1))
        codes[filled] = self.vocabulary.encode(_entries(lists))
        return Bag(indptr, codes, self.vocabulary.size)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.vocabulary.state()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CategoriesEncoder:
        """Rebuild from the JSON form."""
        return cls(Vocabulary.from_state(state))


def _entries(lists: pl.Series) -> pl.Series:
    """Return the entries of all lists of a column; empty and missing lists have none."""
    return lists.filter(lists.list.len().fill_null(0) > 0).explode()
