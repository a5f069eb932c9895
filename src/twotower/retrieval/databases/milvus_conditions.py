"""Conditions on columns and rows in Milvus's own language.

Only what every parser of it reads in the same way is written: no texts with quotes, backslashes or braces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twotower.retrieval.databases.columns import MOST_VALUES, ROW, Column

_PLAIN: Final = re.compile(r"[^\"\\\x00-\x1f\x7f{}]*")
_INT: Final = 2**63 - 1
_NOTHING: Final = f"{ROW} < 0"


def condition(column: Column, choice: Any) -> str | None:
    """Return the condition that a column meets a filter; None if there are no words for it.

    The same items meet it that `twotower.recommender.display.ColumnFilters` finds.
    """
    if isinstance(choice, Mapping):
        return _range(column, choice)
    one = isinstance(choice, str | np.generic) or not isinstance(choice, Sequence | np.ndarray)
    values = [_literal(column, value) for value in ([choice] if one else choice)]
    if None in values or not values or len(values) > MOST_VALUES:
        return None
    listed = ", ".join(value for value in values if value)
    if not listed:
        return _NOTHING
    return (
        f"array_contains_any({column.field}, [{listed}])" if column.many else f"{column.field} in [{listed}]"
    )


def among(rows: NDArray[np.int32], *, apart: bool = False) -> str:
    """Return the condition that an item is, or with ``apart`` is not, among some rows."""
    return f"{ROW} {'not in' if apart else 'in'} [{','.join(map(str, rows.tolist()))}]"


def _literal(column: Column, value: Any) -> str | None:
    """Return a value in a condition; empty if the column can't hold it, None if there are no words for it."""
    given = value.item() if isinstance(value, np.generic) else value
    if isinstance(given, bool):
        return str(given).lower() if column.kind == "boolean" else ""
    if isinstance(given, str):
        if column.kind != "text":
            return ""
        return f'"{given}"' if _PLAIN.fullmatch(given) else None
    if column.kind not in ("integer", "number") or not math.isfinite(given):
        return ""
    if column.kind == "number":
        return repr(float(given))
    return str(int(given)) if given == int(given) and abs(given) <= _INT else ""


def _range(column: Column, choice: Mapping[str, Any]) -> str:
    """Return the condition that numbers lie between two, both included; null lies nowhere."""
    parts = [f"{column.field} is not null"]
    for name, sign, whole in (("min", ">=", math.ceil), ("max", "<=", math.floor)):
        bound = choice.get(name)
        if bound is None or bound == (-math.inf if name == "min" else math.inf):
            continue
        if not math.isfinite(bound) or (column.kind == "integer" and abs(bound) > _INT):
            beyond = (bound > 0) == (name == "min")  # above all, or below all
            if beyond:
                return _NOTHING
            continue
        text = str(whole(bound)) if column.kind == "integer" else repr(float(bound))
        parts.append(f"{column.field} {sign} {text}")
    return " and ".join(parts)
