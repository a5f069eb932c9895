"""What a feature column says by its values and its name: each kind tells by it how well it suits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True)
class ColumnFacts:
    """What is known about a column. The reasons are in a few words, and empty if it is not so.

    Attributes:
        known: the n values that are not missing; of strings, those that are not empty.
        numbers: (m,) the finite numbers, also of strings that are read as numbers; none for other columns.
        written: how strings are read as numbers (decimal mark, unit).
        coded: why the numbers are codes and not quantities.
        times: why the values are times.
        lists: why each value is a list.
        separator: between the parts of lists in a string without brackets; None for other lists.
        fractions: whether the numbers in lists have fractions.
        titled: whether the name is that of a text, such as a title.
        unique: whether nearly every row has a string of its own.
    """

    known: pl.Series
    numbers: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    written: Mapping[str, str] = field(default_factory=dict)
    coded: str = ""
    times: str = ""
    lists: str = ""
    separator: str | None = None
    fractions: bool = False
    titled: bool = False
    unique: bool = False

    @property
    def texts(self) -> pl.Series | None:
        """The strings that are known; None if the column has others."""
        return self.known if self.known.dtype == pl.String else None


class Fit(NamedTuple):
    """How well a kind suits a column: the kind with the highest worth is tried first.

    Attributes:
        worth: a reading of part of the evidence (any number: 1) has less than one that says more (codes: 4).
        why: the reason in a few words.
        settings: settings of the kind.
    """

    worth: float
    why: str
    settings: Mapping[str, Any] = {}
