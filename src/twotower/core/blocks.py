"""The three array forms of a feature column: dense numbers, one code per row, a bag of codes per row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twotower.core.reprs import ShortRepr


@dataclass(frozen=True)
class Dense:
    """Numbers that are inputs of the tower directly.

    Attributes:
        values: float32 (rows, width), scaled to about unit variance on the training set.
    """

    values: NDArray[np.float32]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)


@dataclass(frozen=True)
class Codes:
    """One embedding row per table row.

    Attributes:
        codes: int32 (rows,), in [0, size); 0 is "unknown", 1 is "missing".
        size: number of embedding rows.
    """

    codes: NDArray[np.int32]
    size: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.codes)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Whether each row has the code of an unknown value, bool (rows,)."""
        return np.equal(self.codes, 0)


@dataclass(frozen=True)
class Bag:
    """The mean of several embedding rows per table row.

    Attributes:
        indptr: int64 (rows + 1,); row r has ``codes[indptr[r]:indptr[r + 1]]``, never empty.
        codes: int32 (entries,), in [0, size); 0 is "unknown", 1 is "missing or empty".
        size: number of embedding rows.
    """

    indptr: NDArray[np.int64]
    codes: NDArray[np.int32]
    size: int

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Whether each row has the code of an unknown value, bool (rows,)."""
        return np.logical_or.reduceat(self.codes == 0, self.indptr[:-1])


Block = Dense | Codes | Bag


class Form(NamedTuple):
    """A block without its rows.

    Attributes:
        kind: its class.
        size: width of `Dense`; number of embedding rows of `Codes` and `Bag`.
    """

    kind: type[Block]
    size: int

    @classmethod
    def of(cls, block: Block) -> Form:
        """Return the form of a block."""
        return cls(type(block), block.values.shape[1] if isinstance(block, Dense) else block.size)


@dataclass(frozen=True, repr=False)
class EncodedShape(ShortRepr):
    """What a tower reads of users or items: the form of each feature column.

    Attributes:
        forms: column -> form, in the schema's order.
        context: of users: the columns of the context in which they ask; None without any.
        statistics: of items: how many statistics of the day there are.
    """

    forms: Mapping[str, Form]
    context: EncodedShape | None = None
    statistics: int = 0

    @property
    def n_dense(self) -> int:
        """Width of all numbers side by side."""
        return sum(size for kind, size in self.forms.values() if kind is Dense)

    @property
    def n_codes(self) -> int:
        """Number of embedding rows of all columns; each column has a range of one table."""
        return sum(size for kind, size in self.forms.values() if kind is not Dense)

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The range ``[first, last)`` of that table of each `Codes` column, then of each `Bag` column."""
        coded = {name: form for name, form in self.forms.items() if form.kind is not Dense}
        ends = dict(zip(coded, accumulate(form.size for form in coded.values()), strict=True))
        ordered = sorted(coded, key=lambda name: coded[name].kind is Bag)
        return {name: (ends[name] - coded[name].size, ends[name]) for name in ordered}

    @property
    def bags(self) -> list[int]:
        """The first row of that table of each `Bag` column."""
        return [first for name, (first, _) in self.ranges.items() if self.forms[name].kind is Bag]
