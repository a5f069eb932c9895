"""Columns of items with a value for each day: lists of ``{date, value}``, and when each value was known."""

from __future__ import annotations

import polars as pl

from twotower.config.kinds import FeatureKind
from twotower.core.where import Found, Where
from twotower.data.parse import AS_FOUND, parse_timestamp

DAY = 86_400.0
KNOWN, VALUE = "known", "value"
DTYPE = pl.List(pl.Struct({KNOWN: pl.Float64, VALUE: pl.Float64}))


def parse_daily(values: pl.Series, kind: FeatureKind, where: Where, found: Found) -> pl.Series:
    """Return lists of ``{known, value}``: the second at which a day was over (UTC), and its value.

    Days without a value are left out; what was parsed is returned as it is.

    Args:
        values: lists of structs with the fields ``date`` and ``value``, one list an item.
        kind: of the values.
        where: the column.
        found: collects how text was read.

    Raises:
        DataError: a column of another form, or an invalid date or value.
    """
    if values.dtype == DTYPE:
        return values
    dtype = values.dtype
    inner = dtype.inner if isinstance(dtype, pl.List) else None
    if not isinstance(inner, pl.Struct) or {"date", "value"} - {field.name for field in inner.fields}:
        raise where.fault(
            f"a daily column must be lists of {{date, value}}, not {dtype}",
            "Make it with pl.struct('date', 'value') in an aggregation by item",
        )
    each = values.to_frame("list").with_row_index("row").explode("list").unnest("list")
    each = each.filter(pl.col("date").is_not_null() & pl.col("value").is_not_null())
    within = Where(where.source, where.column, each.get_column("row"))
    times = parse_timestamp(each.get_column("date"), within, AS_FOUND, found)
    numbers = kind.read(each.get_column("value"), within, found)
    known = ((times / DAY).floor() + 1.0) * DAY
    read = pl.DataFrame({"row": each.get_column("row"), KNOWN: known, VALUE: numbers})
    lists = read.sort(KNOWN, maintain_order=True).group_by("row").agg(pl.struct(KNOWN, VALUE).alias("list"))
    rows = pl.DataFrame({"row": pl.Series(range(len(values)), dtype=lists.schema["row"])})
    return rows.join(lists, on="row", how="left", maintain_order="left").get_column("list").cast(DTYPE)
