"""Guess the kind of a feature column, with the reason; or why it should be left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from twotower.audit.checks.future import is_engagement
from twotower.audit.guessing.names import TEXTS, has_word, tokens
from twotower.audit.nominal import looks_like_codes, named_as_code
from twotower.config.kinds import FeatureKind, kind_of
from twotower.config.schema import Reading
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.data.list_text import bracketed, find_separator, styles
from twotower.data.number_text import looks_like_numbers
from twotower.data.parse import parse_number
from twotower.data.time_text import PER_SECOND, looks_like_times
from twotower.errors import DataError

_QUANTITIES: Final = (
    "age",
    "year",
    "price",
    "count",
    "cnt",
    "num",
    "size",
    "width",
    "height",
    "days",
    "duration",
)
_NEARLY_UNIQUE = 0.9
UNIQUE: Final = "it differs in nearly every row and is not text: an id, a link or a hash"
"""Why a column of strings is left out that may still be a title."""
_FEW, _WORDS = 0.2, 1000
"""Share of distinct values, or number of them, from which a column called name or title is text."""
_LONG = 25
"""Mean number of characters from which strings are text."""
_IN_BRACKETS = 0.9
"""Share of the strings in brackets from which they are lists."""
_SOME = 10_000
"""Number of values examined to tell how they are written."""
_TAIL = 20.0
"""A count or an amount has a long tail if its 99% quantile exceeds its median by this factor."""


@dataclass(frozen=True)
class Guess:
    """The kind of a column (None if it is left out), the reason in a few words, and settings of the kind."""

    name: str | None
    why: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> FeatureKind | None:
        """The kind with its settings."""
        return None if self.name is None else kind_of({"kind": self.name, **self.settings})


def guess_kind(column: pl.Series, *, table: str, declared: str | None = None) -> Guess:
    """Guess the kind of a feature column of the users or items.

    It is the first kind that fits and that the column can be read as.

    Args:
        column: n values.
        table: ``users`` or ``items``.
        declared: the type in a RecBole header.
    """
    known = column.drop_nulls()
    if not len(known):
        return Guess(None, "it is empty")
    if not column.dtype.is_nested() and known.n_unique() == 1:
        return Guess(None, "it is constant")
    if table == "items" and column.dtype.is_numeric() and is_engagement(column.name):
        return Guess(None, "by its name it counts user actions, perhaps including those to predict")
    reasons = []
    for guess in _candidates(column, known, declared):
        if guess.kind is None:
            return guess
        try:
            guess.kind.read(column, Where(table, column.name), Found())
        except DataError as error:
            reasons.append(str(error))
            continue
        return guess
    return Guess(None, f"no kind fits: {reasons[0] if reasons else column.dtype}")


def _candidates(column: pl.Series, known: pl.Series, declared: str | None) -> Iterator[Guess]:
    dtype = column.dtype
    if dtype.is_temporal():
        yield Guess("timestamp", "dates")
    elif isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        if isinstance(inner, pl.DataType) and inner.is_float():
            yield Guess("vector", "lists of fractions")
        yield Guess("categories", "lists")
    elif dtype == pl.Boolean:
        yield Guess("category", "yes and no")
    elif dtype.is_numeric():
        yield from _number(column, known, declared)
    elif dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        yield from _string(column.cast(pl.String), known.cast(pl.String))


def _number(column: pl.Series, known: pl.Series, declared: str | None) -> Iterator[Guess]:
    x = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    x = x[np.isfinite(x)]
    if not len(x):
        yield Guess(None, "it has no finite number")
        return
    values, whole = len(np.unique(x)), bool((x == np.round(x)).all())
    shown = f"{count_of(values, 'value')} from {x.min():g} to {x.max():g}"
    name = column.name
    quantity = has_word(name, _QUANTITIES)
    if whole and not quantity:
        if values == 2:
            yield Guess("category", "two values")
        elif named_as_code(name) and values > max(20, _NEARLY_UNIQUE * len(known)):
            yield Guess(None, "it is a code, different in nearly every row")
            return
        elif named_as_code(name):
            yield Guess("category", f"{shown}; by its name a code")
        elif declared == "token":
            yield Guess("category", f"{shown}; declared a token")
        elif looks_like_codes(x):
            yield Guess("category", f"{shown}; frequencies are those of codes, not of a quantity")
    if 1e8 < np.median(x) < 1e10 and has_word(name, ("time", "timestamp", "date", "at", "ts")):
        yield Guess("timestamp", "seconds since 1970")
    tail = float(np.quantile(x, 0.99)) > _TAIL * max(float(np.median(x)), 1e-12)
    if x.min() >= 0 and values > 10 and tail:
        yield Guess("log_number", f"{shown}, with a long tail")
    yield Guess("number", shown)


def _string(column: pl.Series, known: pl.Series) -> Iterator[Guess]:
    filled = known.filter(known.str.strip_chars() != "")
    if not len(filled):
        yield Guess(None, "it is empty")
        return
    values, distinct = filled.n_unique(), filled.n_unique() / len(filled)
    text = has_word(column.name, TEXTS)
    yield from _lists(filled, text=text)
    if not text and looks_like_times(filled.head(_SOME)) not in (None, *PER_SECOND):
        yield Guess("timestamp", "dates")
    reading = None if text or _share(filled, r"^0\d") > 0.01 else looks_like_numbers(filled.head(_SOME))
    if reading is not None and not named_as_code(column.name):
        yield from _written_number(column, reading)
    length = float(filled.str.len_chars().to_numpy().mean())
    told_apart = distinct > _FEW or values > _WORDS
    if (text and told_apart) or (length > _LONG and distinct > 0.5 and not _opaque(filled)):
        yield Guess("text", f"{count_of(values, 'text')} of {length:.0f} characters on average")
    if distinct > _NEARLY_UNIQUE and values > 20:
        yield Guess(None, UNIQUE)
        return
    yield Guess("category", f"{count_of(values, 'value')}")


def _lists(filled: pl.Series, *, text: bool) -> Iterator[Guess]:
    """Yield guesses for lists in one field: in brackets, or parts with a separator."""
    cells = filled.str.strip_chars()
    style = styles(cells)
    if float(np.mean([bracketed(cell, style) for cell in cells.head(_SOME)])) > _IN_BRACKETS:
        if _share(filled, r"\d\.\d") > 0.5:
            yield Guess("vector", "lists of fractions")
        yield Guess("categories", "lists in brackets")
        return
    separator = None if text else find_separator(filled)
    if separator is None and not text and _share(filled, r"\|") > 0.2:
        separator = "|"
    if separator is not None:
        shown = repr(separator)[1:-1]
        yield Guess("categories", f"lists separated by '{shown}'", {"separator": separator})


def _written_number(column: pl.Series, reading: Reading) -> Iterator[Guess]:
    """Yield guesses for numbers written as text, with decimal commas and units read."""
    try:
        values = parse_number(column, Where("", column.name), reading)
    except DataError:
        return
    for guess in _number(values, values.drop_nulls(), None):
        if guess.name in ("number", "log_number"):
            yield Guess(guess.name, guess.why, reading.given)


def _opaque(filled: pl.Series) -> bool:
    """Return whether most strings are links, or long words without a space."""
    return _share(filled, r"^(https?:|www\.|/)") > 0.5 or _share(filled, r"^[\x21-\x7e]+$") > 0.5


def _share(filled: pl.Series, pattern: str) -> float:
    """Return the share of matching strings."""
    return float(filled.str.contains(pattern).to_numpy().mean())


def is_duration(name: str) -> bool:
    """Return whether a column's name is that of a duration.

    >>> [is_duration(name) for name in ("video_duration", "runtime", "title_length", "play_duration")]
    [True, True, False, False]
    """
    words = tokens(name)
    plain = "_".join(words)
    said = re.search(r"(^|_)(duration|runtime|length)(_(ms|s|sec|secs|seconds|min|minutes))?$", plain)
    return said is not None and not any(word in (*TEXTS, "play", "watch", "listen", "view") for word in words)
