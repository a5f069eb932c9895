"""Placeholders for "none": labels such as -1, users such as ``NULL``, and a constant label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.core.wording import count_of

_WORDS: Final = frozenset(
    [
        *("nan", "na", "n/a", "#n/a", "nil", "null", "none", "<na>", "\\n", "-", "--", "?", "."),
        *("unknown", "undefined", "missing", "anonymous", "guest", "(not set)", "not available"),
    ]
)
_NUMBERS: Final = ("-1", "0", "-999", "-9999", "9999", "99999", "999999")
_LEAST_WORD, _LEAST_NUMBER = 0.005, 0.05
"""Share of the rows from which a placeholder (a word, or a number) is reported."""
_TIMES = 3.0
"""A number is suspicious if it has this many times the rows of the next id."""
_CODES: Final = (-1.0, -9.0, -99.0, -999.0, -9999.0, 99.0, 999.0, 9999.0, 99999.0)
_LEAST_LABEL = 0.02
_LEAST_ZERO = 0.3
"""Share of labels 0 that is suspicious beside a scale from 1 on."""
_SCALE = 11
"""Maximum number of values of a scale."""


@dataclass(frozen=True)
class Placeholder:
    """A value that probably means "none".

    Attributes:
        value: as it is written.
        rows: number of rows with it.
        share: share of all rows.
    """

    value: str
    rows: int
    share: float

    def __str__(self) -> str:
        return f"'{self.value}' in {count_of(self.rows, 'row')} ({self.share:.1%})"


def placeholder_ids(ids: pl.Series) -> list[Placeholder]:
    """Return the ids that probably mean "none", the most frequent first.

    These are words such as ``nan``, ``NULL`` or ``unknown`` with at least 0.5% of the rows, and numbers such
    as -1 or 0 with at least 5% of the rows and three times those of the next id.

    >>> [str(found) for found in placeholder_ids(pl.Series(["a", "NULL", "b", "NULL"]))]
    ["'NULL' in 2 rows (50.0%)"]
    """
    rows = len(ids)
    if not rows:
        return []
    counts = ids.alias("id").value_counts(sort=True, name="n").drop_nulls()
    text = counts["id"].cast(pl.String).str.strip_chars().str.to_lowercase()
    some = counts.with_columns(text.alias("text")).filter(text.is_in([*_WORDS, *_NUMBERS]))
    others = counts.filter(~text.is_in([*_WORDS, *_NUMBERS]))["n"].max()
    found = []
    for name, n, said in some.iter_rows():
        word = said in _WORDS
        enough = n >= (_LEAST_WORD if word else _LEAST_NUMBER) * rows
        negative = said.startswith("-") and not word
        if enough and (word or negative or n >= _TIMES * (others if isinstance(others, int) else 0)):
            found.append(Placeholder(str(name), n, n / rows))
    return found


def placeholder_label(labels: npt.NDArray[np.float64]) -> Placeholder | None:
    """Return the label that probably means "none", of n finite labels; None if there is none.

    That is -1, -99, 999, ... if it is far from the other labels, of which there must be three values at
    least; or 0 with at least 30% of the rows beside a scale of whole numbers from 1 on.

    >>> str(placeholder_label(np.array([-1.0, -1, 3, 4, 5])))
    "'-1' in 2 rows (40.0%)"
    """
    values, counts = np.unique(labels, return_counts=True)
    for at in (0, -1):
        code, n = float(values[at]) if len(values) else 0.0, int(counts[at]) if len(values) else 0
        rest = np.delete(values, at) if len(values) else values
        if len(rest) < 3 or n < _LEAST_LABEL * len(labels):
            continue
        below = at == 0 and code < 0 <= rest[0] and rest[-1] > 1
        above = at == -1 and code > 3.0 * max(rest[-1], 1.0)
        scale = bool((rest == np.round(rest)).all()) and len(rest) <= _SCALE
        zero = at == 0 and code == 0 and rest[0] >= 1 and scale and n >= _LEAST_ZERO * len(labels)
        if (code in _CODES and (below or above)) or (zero and len(rest) > 3):
            return Placeholder(f"{code:g}", n, n / len(labels))
    return None


def constant(labels: npt.NDArray[np.float64]) -> bool:
    """Return whether n labels, at least one, are all the same: then there is nothing to predict."""
    return len(labels) > 0 and bool((labels == labels[0]).all())
