"""Guess the kind of a feature column, with the reason; or why it should be left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import polars as pl

from twotower.audit.checks.future import is_engagement
from twotower.audit.guessing.names import TEXTS, has_word, tokens
from twotower.audit.guessing.number_cells import not_all_numbers
from twotower.audit.nominal import looks_like_codes, named_as_code
from twotower.config.kinds import KINDS, FeatureKind, kind_of
from twotower.config.schema import Reading
from twotower.core.column_facts import ColumnFacts
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.data.list_text import bracketed, find_separator, styles
from twotower.data.number_text import looks_like_numbers
from twotower.data.parse import parse_number
from twotower.data.time_text import PER_SECOND, looks_like_times
from twotower.errors import DataError

_QUANTITIES: Final = "age year price count cnt num size width height days duration"
_NEARLY_UNIQUE = 0.9
UNIQUE: Final = "it differs in nearly every row and is not text: an id, a link or a hash"
"""Why a column of strings is left out that may still be a title."""
_CELLS: Final = "a few of its cells are not numbers"
_FIX: Final = "If it is a column of numbers, correct the cell or empty it, and run init again"
_IN_BRACKETS = 0.9
"""Share of the strings in brackets from which they are lists."""
_SOME = 10_000
"""Number of values examined to tell how they are written."""


@dataclass(frozen=True)
class Guess:
    """The kind of a column (None if it is left out), the reason in a few words, and settings of the kind.

    ``fault`` says what keeps it from being numbers, if it is only a few cells; empty if not.
    """

    name: str | None
    why: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def kind(self) -> FeatureKind | None:
        """The kind with its settings."""
        return None if self.name is None else kind_of({"kind": self.name, **self.settings})


def guess_kind(
    column: pl.Series, *, table: str, declared: str | None = None, where: Where | None = None
) -> Guess:
    """Guess the kind of a feature column of the users or items.

    It is the kind that suits the column best of those that it can be read as.

    Args:
        column: n values.
        table: ``users`` or ``items``.
        declared: the type in a RecBole header.
        where: where the column is, for the fault of a cell; None for its table alone.
    """
    guess = _suiting(column, table, declared)
    if guess.name not in ("category", "text") and guess.why != UNIQUE:
        return guess
    if has_word(column.name, TEXTS) or named_as_code(column.name):
        return guess
    use = "left out" if guess.name is None else f"read as {guess.name}"
    fault = not_all_numbers(column, where or Where(table, column.name), f"{use}, as {_CELLS}", _FIX)
    if fault is None:
        return guess
    why = _CELLS if guess.name is None else f"{guess.why}; {_CELLS}"
    return replace(guess, why=why, fault=str(fault))


def _suiting(column: pl.Series, table: str, declared: str | None) -> Guess:
    """Return the kind that suits a column best, without looking for cells that keep it from being another."""
    known = column.drop_nulls()
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        known = known.cast(pl.String)
    if not len(known):
        return Guess(None, "it is empty")
    if not column.dtype.is_nested() and known.n_unique() == 1:
        return Guess(None, "it is constant")
    if table == "items" and column.dtype.is_numeric() and is_engagement(column.name):
        return Guess(None, "by its name it counts user actions, perhaps including those to predict")
    facts = _of_strings(known) if known.dtype == pl.String else _of_values(known, declared)
    if isinstance(facts, str):
        return Guess(None, facts)
    fits = [(name, fit) for name in KINDS if (fit := KINDS[name].suits(facts)) is not None]
    reasons = []
    for name, fit in sorted(fits, key=lambda one: -one[1].worth):
        guess = Guess(name, fit.why, fit.settings)
        try:
            kind_of({"kind": name, **fit.settings}).read(column, Where(table, column.name), Found())
        except DataError as error:
            reasons.append(str(error))
            continue
        return guess
    return Guess(None, UNIQUE if facts.unique else f"no kind fits: {reasons[0] if reasons else column.dtype}")


def _of_values(known: pl.Series, declared: str | None) -> ColumnFacts | str:
    """Return the facts of a column that is not of strings; or why it is left out."""
    dtype, name = known.dtype, known.name
    if dtype.is_temporal():
        return ColumnFacts(known, times="dates")
    if isinstance(dtype, pl.List | pl.Array):
        return ColumnFacts(known, lists="lists", fractions=pl.Series([], dtype=dtype.inner).dtype.is_float())
    if not dtype.is_numeric():
        return ColumnFacts(known, coded="yes and no" if dtype == pl.Boolean else "")
    x = known.cast(pl.Float64).to_numpy()
    x = x[np.isfinite(x)]
    if not len(x):
        return "it has no finite number"
    coded, values = "", len(np.unique(x))
    if (x == np.round(x)).all() and not has_word(name, _QUANTITIES.split()):
        shown = f"{count_of(values, 'value')} from {x.min():g} to {x.max():g}"
        if values == 2:
            coded = "two values"
        elif named_as_code(name):
            if values > max(20, _NEARLY_UNIQUE * len(known)):
                return "it is a code, different in nearly every row"
            coded = f"{shown}; by its name a code"
        elif declared == "token":
            coded = f"{shown}; declared a token"
        elif looks_like_codes(x):
            coded = f"{shown}; frequencies are those of codes, not of a quantity"
    timed = 1e8 < np.median(x) < 1e10 and has_word(name, ("time", "timestamp", "date", "at", "ts"))
    return ColumnFacts(known, x, coded=coded, times="seconds since 1970" if timed else "")


def _of_strings(known: pl.Series) -> ColumnFacts | str:
    """Return the facts of a column of strings; or why it is left out."""
    name, filled = known.name, known.filter(known.str.strip_chars() != "")
    if not len(filled):
        return "it is empty"
    values, titled = filled.n_unique(), has_word(name, TEXTS)
    lists, separator = _lists(filled, titled=titled)
    timed = not titled and looks_like_times(filled.head(_SOME)) not in (None, *PER_SECOND)
    written, numbers = Reading(), np.zeros(0)
    if not titled and not named_as_code(name) and _share(filled, r"^0\d") <= 0.01:
        found = looks_like_numbers(filled.head(_SOME))
        with suppress(DataError):
            if found is not None:
                numbers = parse_number(filled, Where("", name), found).drop_nulls().to_numpy()
                written = found
    return ColumnFacts(
        filled,
        numbers,
        written.given,
        times="dates" if timed else "",
        lists=lists,
        separator=separator,
        fractions=separator is None and _share(filled, r"\d\.\d") > 0.5,
        titled=titled,
        unique=values > max(20, _NEARLY_UNIQUE * len(filled)),
    )


def _lists(filled: pl.Series, *, titled: bool) -> tuple[str, str | None]:
    """Return why strings are lists, in brackets or with a separator, and the separator."""
    cells = filled.str.strip_chars()
    style = styles(cells)
    if float(np.mean([bracketed(cell, style) for cell in cells.head(_SOME)])) > _IN_BRACKETS:
        return "lists in brackets", None
    separator = None if titled else find_separator(filled)
    if separator is None and not titled and _share(filled, r"\|") > 0.2:
        separator = "|"
    return f"lists separated by '{repr(separator)[1:-1]}'" if separator else "", separator


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
