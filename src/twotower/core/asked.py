"""Ids as callers pass them: one or many, in any container; converted to the type of the model's ids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import polars as pl

from twotower.core.id_text import as_text, canonical
from twotower.errors import DataError

Id = str | bytes | int | float | np.generic
"""One id, as callers pass it."""
Ids = Id | Iterable[Any] | pl.Series
"""Ids as callers pass them: a single id, or a flat list, set, array or series."""
_FLAT: Final = frozenset((int, float, str, type(None)))


def as_series(ids: Ids, what: str = "ids") -> pl.Series:
    """Return ids as a series (n,), from any container. A bare string or number is one id.

    Ids of several types become whole numbers if all are, else text, so that each is found as it is alone.

    >>> as_series("12").to_list(), as_series([12, 7.0]).to_list(), as_series([12, 7.0, "x"]).to_list()
    (['12'], [12, 7], ['12', '7', 'x'])

    Args:
        ids: as above.
        what: their name in error messages.

    Raises:
        DataError: ids is a table, a mapping, or a nested list.
    """
    if isinstance(ids, pl.Series) and ids.dtype != pl.Object:
        if ids.dtype.is_nested():
            raise _not_flat(what, ids[0] if len(ids) else ids.dtype)
        return ids.cast(pl.String, strict=False) if ids.dtype == pl.Binary else ids
    values = as_values(ids, what)
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) < 2:
        return pl.Series(values, strict=False)
    floats = [one if isinstance(one, float) else None for one in values]
    texts = as_text(pl.Series(floats, dtype=pl.Float64)).to_list()
    for place, one in enumerate(values):
        if isinstance(one, int | str):
            texts[place] = str(int(one)) if isinstance(one, int) else one
    asked = pl.Series(texts, dtype=pl.String)
    if not any(issubclass(kind, str) for kind in kinds) and canonical(asked).all():
        return asked.cast(pl.Int64)
    return asked


def as_values(ids: Ids, what: str = "ids") -> list[Any]:
    """Return ids as a list of numbers and texts, each as it is; see `as_series`."""
    if ids is None or isinstance(ids, pl.DataFrame | pl.LazyFrame | Mapping) or _is_pandas_frame(ids):
        raise DataError(
            f"{what} must be one id or a flat list of ids, got {type(ids).__name__}; pass one column of a "
            "table"
        )
    if is_one(ids):
        return [_plain(ids)]
    values = [_plain(one) for one in cast(Iterable[Any], ids)]
    if not set(map(type, values)) <= _FLAT:
        for one in values:
            if not is_one(one) and one is not None:
                raise _not_flat(what, one)
    return values


def as_lists(lists: Ids | Sequence[Ids]) -> list[pl.Series]:
    """Return the ids of several lists. A single bare id is one list with one id.

    >>> [one.to_list() for one in as_lists([[3, 17], [9]])], as_lists("9")[0].to_list()
    ([[3, 17], [9]], ['9'])

    Raises:
        DataError: bare ids instead of lists, which could mean one person or several.
    """
    if is_one(lists):
        return [as_series(cast(Id, lists))]
    if lists is None or isinstance(lists, pl.DataFrame | pl.LazyFrame | Mapping) or _is_pandas_frame(lists):
        return [as_series(lists, "lists")]
    each = list(cast(Iterable[Any], lists))
    for one in each:
        if is_one(one):
            raise DataError(
                f"lists must contain one list of ids per person, got the bare id {_plain(one)!r} among "
                f"{len(each)}; write [[a, b]] for one person with two items, [[a], [b]] for two with one "
                "each"
            )
    return [as_series(one) for one in each]


def is_one(value: Any) -> bool:
    """Return whether a value is one id rather than a container of ids."""
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    return isinstance(value, str | bytes) or (value is not None and not isinstance(value, Iterable))


def _plain(value: Any) -> Any:
    """Return an id as a plain Python value."""
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str):  # half of a pair of surrogates can't be in a column, so no id has one
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    known = value is None or (isinstance(value, int | float | Iterable) and not isinstance(value, bool))
    return value if known else str(value)  # true is not 1, and a date or a UUID becomes its text


def _is_pandas_frame(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ == "DataFrame" and kind.__module__.partition(".")[0] == "pandas"


def _not_flat(what: str, found: Any) -> DataError:
    shown = found.to_list() if isinstance(found, pl.Series) else found
    return DataError(
        f"{what} must be one id or a flat list of ids, got the nested list {shown!r}; remove the inner "
        "brackets"
    )
