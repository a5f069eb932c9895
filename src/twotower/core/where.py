"""Where a value is in a table, for messages; and what was detected while a column was read."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from twotower.core.wording import count_of
from twotower.errors import DataError


class Unreadable(ValueError):
    """A value that does not match the others of its column: why, and its position among the n values."""

    def __init__(self, why: str, row: int, fix: str = "Correct the value, or name another column") -> None:
        super().__init__(why)
        self.row = row
        self.fix = fix


class Ambiguous(Unreadable):
    """A value that can be read in two ways; further values of its column may tell which is meant."""


class AmbiguousError(DataError):
    """A column has an `Ambiguous` value."""


@dataclass
class Found:
    """Collects what is detected about the text of columns while they are read.

    Attributes:
        settings: column -> how its text was read (``{"decimal": ","}``), if not in the plain way.
    """

    settings: dict[str, dict[str, str]] = field(default_factory=dict)
    _said: dict[tuple[str, str, str, str], tuple[int, int]] = field(default_factory=dict, repr=False)

    @property
    def notes(self) -> list[str]:
        """How values were read, and which were taken as missing, in plain sentences."""
        return [
            f"{source}, column '{column}': "
            + (said.format(count=count_of(count, noun), share=f"{count / max(of, 1):.1%}") if noun else said)
            for (source, column, said, noun), (count, of) in self._said.items()
            if count or not noun
        ]

    def add(self, where: Where, said: str, **settings: str) -> None:
        """Add a note on a column, and how it was read."""
        self._said[where.source, where.column, said, ""] = (0, 0)
        if settings:
            self.settings[where.column] = settings

    def count(self, where: Where, said: str, noun: str, count: int, of: int = 0) -> None:
        """Add a note with a number, unless it is 0: ``{count}`` stands for it and the noun, ``{share}`` for
        its share of the rows."""
        self._said[where.source, where.column, said, noun] = (count, of)

    def merge(self, later: Found, source: str) -> None:
        """Add what was found in a later part of a table, which was read in the same way."""
        for (_, column, said, noun), (count, of) in later._said.items():
            sums = self._said.get((source, column, said, noun), (0, 0))
            if noun or not any(key[1] == column and not key[3] for key in self._said):
                self._said[source, column, said, noun] = (sums[0] + count, sums[1] + of)


@dataclass(frozen=True)
class Where:
    """The table and the column, for messages.

    Attributes:
        source: the table.
        column: the column.
        rows: the data row (from 0) of each value, if some rows were left out.
        start: the data row (from 0) at which the rows of the table begin; not 0 for a later part of a file.
    """

    source: str
    column: str
    rows: pl.Series | None = field(default=None, compare=False)
    start: int = field(default=0, compare=False)

    def fault(self, rule: str, fix: str, row: int | None = None, value: object = None) -> DataError:
        """Return the error: the rule; source, data row (counted from 1), column, value; the fix."""
        at = self.source if row is None else f"{self.source}, data row {self.row(row - 1)}"
        given = "" if row is None else f" has {shown(value)}"
        return DataError(f"{rule}: {at}, column '{self.column}'{given}. {fix}.")

    def row(self, place: int) -> int:
        """Return the data row, counted from 1, of the value at a place from 0."""
        return self.start + 1 + (place if self.rows is None else int(self.rows[place]))

    def first(self, wrong: pl.Series, values: pl.Series, rule: str, fix: str) -> DataError:
        """Return the error for the first row where the boolean series ``wrong`` is true."""
        index = wrong.fill_null(False).arg_max() or 0
        return self.fault(rule, fix, index + 1, values[index])

    def refuse(self, wrong: pl.Series, values: pl.Series, rule: str, fix: str) -> None:
        """Raise the error for the first row where the boolean series ``wrong`` is true, if there is one."""
        if wrong.any():
            raise self.first(wrong, values, rule, fix)

    def unreadable(self, rule: str, error: Unreadable, values: pl.Series) -> DataError:
        """Return the error for a value that does not match the others of its column."""
        why = f" ({error})" if str(error) and str(error) != rule else ""
        fault = self.fault(f"{rule}{why}", error.fix, error.row + 1, values[error.row])
        return AmbiguousError(str(fault)) if isinstance(error, Ambiguous) else fault

    def wrong_type(self, rule: str, values: pl.Series, fix: str) -> DataError:
        """Return the error for a column whose dtype does not fit its kind."""
        return self.fault(f"{rule}, not {_type_name(values.dtype)}", fix)


def shown(value: object) -> str:
    """Return the value for a message, cut to 60 characters; "no value" if it is missing."""
    if value is None:
        return "no value"
    text = repr(value.to_list() if isinstance(value, pl.Series) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type_name(dtype: pl.DataType) -> str:
    names = {
        pl.Boolean: "true/false",
        pl.Object: "mixed Python objects",
        pl.Binary: "bytes",
        pl.Struct: "records",
    }
    if isinstance(dtype, pl.List | pl.Array):
        return "lists"
    return names.get(dtype.base_type(), "dates or times" if dtype.is_temporal() else str(dtype))
