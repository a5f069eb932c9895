"""`Columns`: the display columns of items as a vector database keeps them, for filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

Kind = Literal["integer", "number", "boolean", "text"]

ROW, ID, VECTOR = "row", "item_id", "vector"
"""Fields of every collection: the item's row in the bundle, its id, and its vector."""
MOST_COLUMNS = 60
MOST_BYTES = 65_535
MOST_VALUES = 4_096
"""What every database can keep: columns, bytes of a text, values of a list."""
_MOST = 2**63 - 1
_KINDS: Final[tuple[tuple[Callable[[Any], bool], Kind, Any], ...]] = (
    (lambda dtype: dtype == pl.Boolean, "boolean", pl.Boolean),
    (lambda dtype: dtype == pl.String, "text", pl.String),
    (lambda dtype: dtype.is_integer(), "integer", pl.Int64),
    (lambda dtype: dtype.is_float(), "number", pl.Float64),
)
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, eq=False)
class Column:
    """A display column.

    Attributes:
        name: as the recommender has it.
        field: as the database has it.
        kind: what the values are.
        many: whether each item has a list of values.
        values: (items,) Int64, Float64, Boolean or String, or lists of them; null where there is none.
    """

    name: str
    field: str
    kind: Kind
    many: bool
    values: pl.Series

    @property
    def longest(self) -> int:
        """Bytes of the longest text, at least 1; 8 for other values."""
        if self.kind != "text":
            return 8
        return max(1, _largest((self.values.explode() if self.many else self.values).str.len_bytes()))

    @property
    def most(self) -> int:
        """Values of the longest list, at least 1."""
        return max(1, _largest(self.values.list.len()))


class Columns:
    """The columns that a database keeps, and those that it can't keep.

    >>> columns = Columns(pl.DataFrame({"year": [1994], "the genre": [["comedy"]], "stars": [float("inf")]}))
    >>> [(column.field, column.kind, column.many) for column in columns]
    [('year', 'integer', False), ('the_genre', 'text', True)]
    >>> columns.left_out
    {'stars': 'has infinite numbers'}

    Args:
        display: a row per item, without the ids.

    Attributes:
        left_out: reasons by name of the column. Conditions on these are met by the recommender.
    """

    def __init__(self, display: pl.DataFrame) -> None:
        self.left_out: dict[str, str] = {}
        self._kept: dict[str, Column] = {}
        taken = {ROW, ID, VECTOR}
        for column in display:
            found = _read(column)
            if not isinstance(found, str) and len(self._kept) == MOST_COLUMNS:
                found = f"is beyond {MOST_COLUMNS} columns"
            if isinstance(found, str):
                self.left_out[column.name] = found
                continue
            kind, many, values = found
            field = _NOT_PLAIN.sub("_", column.name)[:200] or "_"
            field = f"c_{field}" if field[0].isdigit() else field
            while field.lower() in taken:
                field = f"{field}_"
            taken.add(field.lower())
            self._kept[column.name] = Column(column.name, field, kind, many, values)

    def __iter__(self) -> Iterator[Column]:
        return iter(self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, name: str) -> Column | None:
        """Return a column by its display name; None where the database doesn't have it."""
        return self._kept.get(name)

    def rows(self, start: int, stop: int) -> Iterable[tuple[Any, ...]]:
        """Return the values of items, a tuple of all columns each."""
        parts = [column.values.slice(start, stop - start).to_list() for column in self]
        return zip(*parts, strict=True) if parts else ((),) * (stop - start)


def _read(column: pl.Series) -> tuple[Kind, bool, pl.Series] | str:
    """Return kind, whether there are lists, and values; or why the column can't be kept."""
    many = isinstance(column.dtype, pl.List)
    inner: Any = column.dtype.inner if isinstance(column.dtype, pl.List) else column.dtype
    fault = _fault(inner, column.explode() if many else column)
    if many and _largest(column.list.len()) > MOST_VALUES:
        fault = f"has lists of more than {MOST_VALUES:,} values"
    if fault is not None:
        return fault
    kind, wide = next((kind, wide) for meets, kind, wide in _KINDS if meets(inner))
    column = column.cast(pl.List(wide) if many else wide)
    if not many:
        return kind, False, column.fill_nan(None) if kind == "number" else column
    element = pl.element().fill_nan(None).drop_nulls() if kind == "number" else pl.element().drop_nulls()
    return kind, True, column.to_frame("c").select(pl.col("c").list.eval(element)).to_series()


def _fault(inner: Any, values: pl.Series) -> str | None:
    """Return why values of a type can't be kept."""
    if not any(meets(inner) for meets, _, _ in _KINDS):
        return f"holds {inner}"
    if inner == pl.String and _largest(values.str.len_bytes()) > MOST_BYTES:
        return f"has texts of more than {MOST_BYTES:,} bytes"
    if inner == pl.UInt64 and _largest(values) > _MOST:
        return "has whole numbers of more than 63 bits"
    if inner.is_float() and values.is_infinite().any():
        return "has infinite numbers"
    return None


def _largest(values: pl.Series) -> int:
    found: Any = values.max()
    return 0 if found is None else int(found)
