"""What is known of a column of text after some of its blocks, enough to tell the dtype that `by_values` would
give the whole column."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import polars as pl

from twotower.data.cells import CODE, POWER, WORDS, converted, without_spaces
from twotower.data.table_parts import has_long

BLANKS = " \t\r"


@dataclass(frozen=True)
class Typing:
    """How the text of a column is read.

    Attributes:
        dtype: the dtype of the column.
        strip: characters that are stripped from both ends of its values; none if empty.
    """

    dtype: pl.DataType
    strip: str = ""

    def read(self, cells: pl.Series) -> pl.Series:
        """Return n strings, or values of the dtype already, in the dtype."""
        if cells.dtype != pl.String:
            return cells if cells.dtype == self.dtype else cells.cast(self.dtype)
        if self.strip:
            cells = without_spaces(cells, self.strip)
        return cells if self.dtype == pl.String else converted(cells, self.dtype)


TEXT = Typing(pl.String())


@dataclass
class Numbers:
    """Whether the values seen so far are numbers or flags; null is neither.

    Attributes:
        known: number of values.
        ints: all are whole numbers of 64 bits.
        floats: all are numbers.
        flags: all are true or false.
        code: a whole number is written as a code (007).
        words: all that are not finite are words like inf, or numbers too large.
        whole: all are written as whole numbers.
        longest: the most bytes of one.
        power: one would be written back differently (1e5).
        plain: all are whole numbers as pandas writes them (1.0) and would be written back as they are.
        long: a whole number is too long for a float.
    """

    known: int = 0
    ints: bool = True
    floats: bool = True
    flags: bool = True
    code: bool = False
    words: bool = True
    whole: bool = True
    longest: int = 0
    power: bool = False
    plain: bool = True
    long: bool = False

    def add(self, other: Self) -> None:
        """Add what is known of other values."""
        self.known += other.known
        self.longest = max(self.longest, other.longest)
        for name in ("ints", "floats", "flags", "words", "whole", "plain"):
            setattr(self, name, getattr(self, name) and getattr(other, name))
        for name in ("code", "power", "long"):
            setattr(self, name, getattr(self, name) or getattr(other, name))

    def typing(self, ids: bool, strip: str = "") -> Typing | None:
        """Return how `cells.narrowed` reads these values; None as strings."""
        if not self.known:
            return None
        if self.ints:
            return None if self.code else Typing(pl.Int64(), strip)
        if self.floats:
            if not self.words or (self.longest > 18 and self.whole):
                return None
            if ids and self.power:
                return Typing(pl.Int64(), strip) if self.plain else None
            return Typing(pl.Float64(), strip)
        return Typing(pl.Boolean(), strip) if self.flags else None


def numbers_in(cells: pl.Series) -> Numbers:
    """Return what is known of n strings, or of n numbers or flags that were written plainly."""
    known = cells.count()
    if not known:
        return Numbers()
    return _in_text(cells.drop_nulls()) if cells.dtype == pl.String else _in_values(cells, known)


def _in_values(cells: pl.Series, known: int) -> Numbers:
    if cells.dtype == pl.Boolean:
        return Numbers(known, ints=False, floats=False, plain=False, whole=False)
    if cells.dtype.is_float():
        return Numbers(known, ints=False, flags=False, plain=False, whole=False)
    long = has_long(cells)  # of 16 digits or more
    return Numbers(known, flags=False, long=long, power=long)


def _in_text(values: pl.Series) -> Numbers:
    known = len(values)
    if not any(_all(values.head(100), dtype) for dtype in (pl.Float64, pl.Boolean)):
        return Numbers(known, ints=False, floats=False, flags=False, plain=False)
    ints = values.cast(pl.Int64, strict=False)
    found = Numbers(known, ints=ints.count() == known)
    numbers = values.cast(pl.Float64, strict=False)
    found.floats = numbers.count() == known
    found.flags = not found.floats and _all(values, pl.Boolean)
    if not found.floats:
        found.plain = False
        return found
    found.longest = int(values.str.len_bytes().max() or 0)  # type: ignore[arg-type]
    found.code = bool(values.str.contains(CODE).any())
    found.words = bool(values.filter(~numbers.is_finite()).str.contains(WORDS).all())
    found.whole = bool(values.str.contains(r"^[+-]?\d+$").all())
    found.power = bool(values.str.contains(POWER).any())
    plain = values.str.strip_suffix(".0")
    whole = plain.cast(pl.Int64, strict=False)
    found.plain = whole.cast(pl.String).equals(plain)
    found.long = (found.ints or found.plain) and has_long(whole)
    return found


def _all(values: pl.Series, dtype: type[pl.DataType]) -> bool:
    found = converted(values, dtype) if dtype == pl.Boolean else values.cast(dtype, strict=False)
    return found.count() == len(values)


@dataclass
class CellFacts:
    """What is known of a column of text, as written and without the spaces around values.

    Attributes:
        raw: of the values.
        stripped: of the values without spaces.
        spaced: a value has a space at an end.
        all_spaced: all values have.
    """

    raw: Numbers = field(default_factory=Numbers)
    stripped: Numbers = field(default_factory=Numbers)
    spaced: bool = False
    all_spaced: bool = True

    def add(self, cells: pl.Series) -> None:
        """Add a block: strings, or numbers and flags that were written plainly."""
        raw = numbers_in(cells)
        self.raw.add(raw)
        if not raw.known:
            return
        if cells.dtype != pl.String or raw.floats or raw.flags:  # these have no spaces
            self.stripped.add(raw)
            self.all_spaced = False
            return
        self.stripped.add(numbers_in(without_spaces(cells, BLANKS)))
        spaced = cells.str.starts_with(" ") | cells.str.ends_with(" ")
        self.spaced = self.spaced or bool(spaced.any())
        self.all_spaced = self.all_spaced and bool(spaced.all())

    def merged(self, other: Self) -> Self:
        """Return what is known of this column and another."""
        found = replace(
            self,
            raw=replace(self.raw),
            stripped=replace(self.stripped),
            spaced=self.spaced or other.spaced,
            all_spaced=self.all_spaced and other.all_spaced,
        )
        found.raw.add(other.raw)
        found.stripped.add(other.stripped)
        return found

    def by_values(self, padded_name: bool = False, *, ids: bool = False) -> Typing:
        """Return how `cells.by_values` reads the column."""
        found = self.raw.typing(ids) or self.stripped.typing(ids, BLANKS)
        if found is not None:
            return found
        if self.stripped.floats and self.stripped.known:
            return Typing(pl.String(), BLANKS)
        return self.as_text(padded_name)

    def as_text(self, padded_name: bool) -> Typing:
        """Return how `cells.unpadded` reads a column that stays text."""
        return Typing(pl.String(), " ") if self.spaced and (padded_name or self.all_spaced) else TEXT

    def unpadded(self, padded_name: bool) -> Self:
        """Return what is known of the column that `as_text` reads."""
        if not self.as_text(padded_name).strip:
            return self
        return replace(self, raw=self.stripped, spaced=False, all_spaced=False)
