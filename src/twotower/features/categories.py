"""categories: a list of values of a set, as the mean of their embedding rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.core.blocks import Bag, Form
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.where import Found, Where, shown
from twotower.core.wording import count_of
from twotower.data.list_text import SEPARATORS, find_separator, missing, plain_cells, split_cell, styles
from twotower.features.value_codes import LEAST, MISSING, ValueCodes

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})(\.0*)?$")
"""A canonical integer, written back as it was read: no leading zero, at most 63 bits."""
_MANY: Final = 0.3
"""Share of values with a comma or another separator from which a note says that each is taken as one tag."""


class Categories(FeatureKind):
    """A list of codes or strings (tags, genres)."""

    dtype = pl.List(pl.String)
    meaning = "tags"

    separator: Annotated[str, Field(min_length=1)] | None = None
    """Separator between the tags of one row, such as ``", "``."""

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return List(Int64) or List(String): one list of tags per row; null means missing, [] means none.

        Lists are unchanged except that nulls in them are dropped. Strings are read in any usual notation:
        ``[27, 9]``, ``[27 9]``, ``["a", "b"]``, ``['a' 'b']``, ``{'a', 'b'}``, ``('a', 'b')``, ``[a,b]``, or
        ``a|b`` with any separator that `find_separator` detects in the column; otherwise as a list of one
        tag. An empty string is missing.

        Raises:
            DataError: a bracket is not closed, lists are nested, numpy has abbreviated a list, or a float has
                a fraction.
        """
        rule = "categories must be a list of integer codes or strings"
        if isinstance(values.dtype, pl.Categorical | pl.Enum):
            values = values.cast(pl.String)
        if values.dtype == pl.String:
            return _tags_of_strings(values, where, found, self.separator)
        if values.dtype == pl.Null:
            return values.cast(pl.List(pl.String))
        if isinstance(values.dtype, pl.Array):
            values = values.arr.to_list()
        if not isinstance(values.dtype, pl.List):
            raise where.wrong_type(rule, values, "Declare a column of single values as 'category'")
        inner = values.dtype.inner
        values = values.list.drop_nulls()
        if inner == pl.String or isinstance(inner, pl.Categorical | pl.Enum):
            return values.cast(pl.List(pl.String))
        if isinstance(inner, pl.DataType) and (inner.is_integer() or inner in (pl.Boolean, pl.Null)):
            return values.cast(pl.List(pl.Int64))
        if isinstance(inner, pl.DataType) and inner.is_float():
            wrong = values.list.eval(pl.element() != pl.element().cast(pl.Int64, strict=False)).list.any()
            unknown = values.list.eval(pl.element().cast(pl.Int64, strict=False).is_null()).list.any()
            wrong = wrong.fill_null(False) | unknown.fill_null(False)
            if wrong.any():
                raise where.first(wrong, values, rule, "Write whole codes, or declare the column as 'vector'")
            return values.cast(pl.List(pl.Int64))
        raise where.wrong_type(rule, values, "Give each row a flat list of integers or strings")

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits lists."""
        settings = {} if facts.separator is None else {"separator": facts.separator}
        return Fit(5, facts.lists, settings) if facts.lists else None

    def fit(self, column: pl.Series) -> CategoriesEncoder:
        """Fit the values of at least two rows: in a list, a rare value adds to the others."""
        return CategoriesEncoder(ValueCodes.fit(_entries(column.list.drop_nulls()), LEAST))

    def restore(self, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> CategoriesEncoder:
        """Rebuild from the JSON form."""
        return CategoriesEncoder(ValueCodes.from_state(state))

    def grouped(self, column: pl.Series) -> pl.Series:
        """Return the first tag of each row."""
        return column.list.first()


@dataclass(frozen=True)
class CategoriesEncoder(ColumnEncoder):
    """Fitted state of a categories (list) column."""

    codes: ValueCodes

    @property
    def form(self) -> Form:
        """See `ColumnEncoder.form`."""
        return Form(Bag, self.codes.size)

    def transform(self, column: pl.Series) -> Bag:
        """Return one bag per row; an empty or missing list has the code "missing"."""
        lists = column.list.drop_nulls()
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        indptr = np.zeros(len(column) + 1, dtype=np.int64)
        np.cumsum(np.maximum(lengths, 1), out=indptr[1:])
        codes = np.full(indptr[-1], MISSING, dtype=np.int32)
        filled = np.repeat(lengths > 0, np.maximum(lengths, 1))
        codes[filled] = self.codes.encode(_entries(lists))
        return Bag(indptr, codes, self.codes.size)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return self.codes.state()


def _entries(lists: pl.Series) -> pl.Series:
    """Return the entries of all lists of a column; empty and missing lists have none."""
    return lists.filter(lists.list.len().fill_null(0) > 0).explode()


def _tags_of_strings(values: pl.Series, where: Where, found: Found, separator: str | None) -> pl.Series:
    """Parse each distinct string once (tags repeat), then assign the lists to the rows."""
    lists: list[list[str] | None] = []
    distinct = values.unique(maintain_order=True)
    stripped = distinct.str.strip_chars()
    stripped = stripped.set(missing(stripped), None)
    separator = separator or _separator(stripped, where, found)
    style = styles(stripped)
    for text, cell in zip(distinct, stripped, strict=True):
        try:
            lists.append(split_cell(cell, separator, style) if cell else None)
        except ValueError as error:
            row = (values == text).arg_max() or 0
            fix = "Write it like [27, 9], [a,b] or a|b"
            raise where.fault(f"categories must be a flat list; {error}", fix, row + 1, text) from None
    whole = all(_INTEGER.match(tag) for tags in lists if tags is not None for tag in tags)
    # A column without any tag has no type yet: String, which accepts whatever comes later.
    whole = whole and any(lists)
    parsed = pl.Series(
        values.name,
        [None if tags is None else [int(t.split(".")[0]) if whole else t for t in tags] for tags in lists],
        dtype=pl.List(pl.Int64 if whole else pl.String),
    )
    table = pl.DataFrame({"text": distinct, "tags": parsed})
    rows = pl.DataFrame({"text": values})
    found_rows = rows.join(table, on="text", how="left", nulls_equal=True, maintain_order="left")
    return found_rows.get_column("tags").alias(values.name)


def _separator(distinct: pl.Series, where: Where, found: Found) -> str:
    """Return the separator of a column of lists, and add a note if one was found or may have been missed."""
    separator = find_separator(distinct, declared=True)
    if separator is not None:
        if separator != "|":
            found.add(where, f"lists with the separator {separator!r}", separator=separator)
        return separator
    cells = plain_cells(distinct)
    for other in SEPARATORS[1:]:
        having = [cell for cell in cells if other in cell.strip(other)]
        if len(having) > _MANY * len(cells):
            found.add(
                where,
                f"{len(having):,} of {count_of(len(cells), 'distinct value')} contain {other!r} and are "
                f"read as one tag each, such as {shown(having[0])}; if they are lists, set {{ kind = "
                f'"categories", separator = "{other}" }}',
            )
            break
    return "|"
