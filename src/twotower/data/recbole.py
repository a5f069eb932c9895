"""RecBole's atomic files (.inter, .user, .item): tab-separated, with the type of each column in the header.

``user_id:token age:float tags:token_seq`` names the columns ``user_id``, ``age`` and ``tags``. A ``token`` is
a code, a ``float`` a number, and a ``_seq`` a list of them, separated by spaces.
https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from twotower.core.where import Where, shown
from twotower.data.checks import require_columns
from twotower.data.delimited import Dtypes, header_names, read_delimited
from twotower.data.raw_text import UTF8
from twotower.data.remote import Location
from twotower.errors import DataError, nearest

SUFFIXES: Final = (".inter", ".user", ".item")
_TYPES: Final = ("token", "token_seq", "float", "float_seq")
AS: Final = ".tsv"
"""The suffix of the delimited files that these are but for the header."""


def recbole_types(path: Location, encoding: str = UTF8) -> dict[str, str]:
    """Return the type of each column, in order.

    Raises:
        DataError: a column of the header has no type, or an unknown one.
    """
    return field_types(header_names(path, AS, None, encoding), path)


def field_types(fields: Sequence[str], path: Location) -> dict[str, str]:
    """Return the type of each column from the fields of the header; errors as in `recbole_types`."""
    types = {}
    for field in fields:
        name, _, kind = field.rpartition(":")
        if not name or kind not in _TYPES:
            raise DataError(
                f"the columns of a RecBole file must be name:type with a type of {', '.join(_TYPES)}: "
                f"{path} has {shown(field)}.{nearest(kind, _TYPES)} Correct the header, or rename the file "
                "to .tsv."
            )
        types[name] = kind
    return types


def typed_fields(types: Mapping[str, str], dtypes: Dtypes) -> dict[str, pl.DataType | type[pl.DataType]]:
    """Return the dtypes in which the fields of the header are read: those asked for, else by their types."""
    found: dict[str, pl.DataType | type[pl.DataType]] = {}
    for name, kind in types.items():
        if name in dtypes:
            found[f"{name}:{kind}"] = dtypes[name]
        elif kind.endswith("_seq"):
            found[f"{name}:{kind}"] = pl.String
        elif kind == "float":
            found[f"{name}:{kind}"] = pl.Float64
    return found


def read_recbole(
    path: Location, columns: Sequence[str] | None, dtypes: Dtypes, encoding: str = UTF8
) -> pl.DataFrame:
    """Read columns of an atomic file; arguments and errors are those of `read_delimited`.

    Tokens are Int64 if all of the column are integers, otherwise String; a sequence is a list, null if empty.
    """
    types = recbole_types(path, encoding)
    wanted = list(types if columns is None else columns)
    require_columns(list(types), wanted, str(path))
    fields = {name: f"{name}:{types[name]}" for name in wanted}
    given = typed_fields({name: types[name] for name in wanted}, dtypes)
    frame = read_delimited(path, AS, list(fields.values()), given, encoding=encoding)
    frame = frame.rename({field: name for name, field in fields.items()})
    lists = [name for name in wanted if types[name].endswith("_seq") and name not in dtypes]
    return sequences(frame, lists, types, path)


def sequences(
    frame: pl.DataFrame, columns: Sequence[str], types: Mapping[str, str], path: Location, start: int = 0
) -> pl.DataFrame:
    """Return a frame, whose rows begin at data row ``start`` of its file, with some columns as lists."""
    return frame.with_columns(
        _sequence(frame.get_column(name), types[name], Where(str(path), name, start=start))
        for name in columns
    )


def _sequence(cells: pl.Series, kind: str, where: Where) -> pl.Series:
    parts = cells.str.strip_chars().str.split(" ").list.eval(pl.element().filter(pl.element() != ""))
    if kind == "token_seq":
        return parts
    numbers = parts.list.eval(pl.element().cast(pl.Float64, strict=False))
    wrong = (numbers.list.eval(pl.element().is_null()).list.any()).fill_null(False)
    rule = "a float_seq must be numbers separated by spaces"
    where.refuse(wrong, cells, rule, "Correct the value")
    return numbers
