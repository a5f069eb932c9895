"""Which kind a feature column is, with the reason; or why it is better left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from twotower.data.audit.checks.future import is_engagement
from twotower.data.audit.nominal import looks_like_codes, named_as_code
from twotower.data.checks import parse_kind
from twotower.data.guessing.names import TEXTS, has_word, tokens
from twotower.data.parse import Where
from twotower.errors import DataError
from twotower.schema import Kind

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
_LONG = 25
"""Mean number of characters from which a string is a text."""
_TAIL = 20.0
"""How many medians the 99% quantile of a count or an amount has."""


@dataclass(frozen=True)
class Guess:
    """The kind of a column, none if it is left out, and the reason in a few words."""

    kind: Kind | None
    why: str


def guess_kind(column: pl.Series, *, table: str, declared: str | None = None) -> Guess:
    """Guess the kind of a feature column of the users or items.

    The first kind that fits, and that the column can be read as.

    Args:
        column: n values.
        table: ``users`` or ``items``.
        declared: the type that a RecBole header gives.
    """
    known = column.drop_nulls()
    if not len(known):
        return Guess(None, "it is empty")
    if not column.dtype.is_nested() and known.n_unique() == 1:
        return Guess(None, "it has one value")
    if table == "items" and column.dtype.is_numeric() and is_engagement(column.name):
        return Guess(None, "by its name it counts what users did, perhaps with what is to be predicted")
    reasons = []
    for guess in _candidates(column, known, declared):
        if guess.kind is None:
            return guess
        try:
            parse_kind(column, guess.kind, Where(table, column.name))
        except DataError as error:
            reasons.append(str(error))
            continue
        return guess
    return Guess(None, f"no kind fits: {reasons[0] if reasons else column.dtype}")


def _candidates(column: pl.Series, known: pl.Series, declared: str | None) -> Iterator[Guess]:
    dtype = column.dtype
    if dtype.is_temporal():
        yield Guess(Kind.TIMESTAMP, "dates")
    elif isinstance(dtype, pl.List | pl.Array):
        inner = dtype.inner
        if isinstance(inner, pl.DataType) and inner.is_float():
            yield Guess(Kind.VECTOR, "lists of fractions")
        yield Guess(Kind.CATEGORIES, "lists")
    elif dtype == pl.Boolean:
        yield Guess(Kind.CATEGORY, "yes and no")
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
    shown = f"{values:,} values from {x.min():g} to {x.max():g}"
    name = column.name
    quantity = has_word(name, _QUANTITIES)
    if whole and not quantity:
        if values == 2:
            yield Guess(Kind.CATEGORY, "two values")
        elif named_as_code(name) and values > max(20, _NEARLY_UNIQUE * len(known)):
            yield Guess(None, "it is a code that is different nearly everywhere")
            return
        elif named_as_code(name):
            yield Guess(Kind.CATEGORY, f"{shown}; by its name a code")
        elif declared == "token":
            yield Guess(Kind.CATEGORY, f"{shown}; declared a token")
        elif looks_like_codes(x):
            yield Guess(Kind.CATEGORY, f"{shown}; as frequent as codes are, not as a quantity's values")
    if 1e8 < np.median(x) < 1e10 and has_word(name, ("time", "timestamp", "date", "at", "ts")):
        yield Guess(Kind.TIMESTAMP, "seconds since 1970")
    tail = float(np.quantile(x, 0.99)) > _TAIL * max(float(np.median(x)), 1e-12)
    if x.min() >= 0 and values > 10 and tail:
        yield Guess(Kind.LOG_NUMBER, f"{shown}, with a long tail")
    yield Guess(Kind.NUMBER, shown)


def _string(column: pl.Series, known: pl.Series) -> Iterator[Guess]:
    filled = known.filter(known.str.strip_chars() != "")
    if not len(filled):
        yield Guess(None, "it is empty")
        return
    values, distinct = filled.n_unique(), filled.n_unique() / len(filled)
    text = has_word(column.name, TEXTS)
    bracketed = _share(filled, r"^\s*\[.*\]\s*$")
    if bracketed > 0.9:
        if _share(filled, r"\d\.\d") > 0.5:
            yield Guess(Kind.VECTOR, "lists of fractions")
        yield Guess(Kind.CATEGORIES, "lists in brackets")
    if not text and _share(filled, r"\|") > 0.2:
        yield Guess(Kind.CATEGORIES, "lists separated by |")
    if filled.str.contains(r"^\s*\d{4}-\d{2}-\d{2}").all():
        yield Guess(Kind.TIMESTAMP, "dates")
    length = float(filled.str.len_chars().to_numpy().mean())
    if text or (length > _LONG and distinct > 0.5 and not _opaque(filled)):
        yield Guess(Kind.TEXT, f"{values:,} texts of {length:.0f} characters on average")
    if distinct > _NEARLY_UNIQUE and values > 20:
        yield Guess(None, "it is different nearly everywhere, and no text: an id, a link or a hash")
        return
    yield Guess(Kind.CATEGORY, f"{values:,} values")


def _opaque(filled: pl.Series) -> bool:
    """Say whether most strings are links, or long words without a blank."""
    return _share(filled, r"^(https?:|www\.|/)") > 0.5 or _share(filled, r"^[\x21-\x7e]+$") > 0.5


def _share(filled: pl.Series, pattern: str) -> float:
    """Return the share of strings that match."""
    return float(filled.str.contains(pattern).to_numpy().mean())


def is_duration(name: str) -> bool:
    """Say whether a column's name is that of a duration.

    >>> [is_duration(name) for name in ("video_duration", "runtime", "title_length", "play_duration")]
    [True, True, False, False]
    """
    words = tokens(name)
    plain = "_".join(words)
    said = re.search(r"(^|_)(duration|runtime|length)(_(ms|s|sec|secs|seconds|min|minutes))?$", plain)
    return said is not None and not any(word in (*TEXTS, "play", "watch", "listen", "view") for word in words)
