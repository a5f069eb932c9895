"""Tags that are lists of other tags: an undetected separator."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.core.wording import count_of
from twotower.data.list_text import combinations, find_separator
from twotower.data.number_text import looks_like_numbers

_FEW, _MANY = 10, 50


class Combined(Check):
    """Categories whose values are mostly combinations of others, and numbers read as categories."""

    name = "combined-values"
    looks_for = "lists read as one tag each, and numbers read as categories"

    def run(self, case: Case) -> Iterator[Finding]:
        """Split the distinct values of each text column, and check whether the parts are values too."""
        for side in case.sides:
            for name, kind in side.features.items():
                column = side.table.get_column(name)
                where = f"{case.path(side.name)}, column '{name}'"
                lists = isinstance(column.dtype, pl.List)
                values = column.list.drop_nulls().explode() if lists else column
                if kind.meaning != "tags" or values.dtype != pl.String:
                    continue
                distinct = values.drop_nulls().unique(maintain_order=True)
                if len(distinct) < _FEW:
                    continue
                reading = None if lists else looks_like_numbers(distinct)
                if reading is not None and reading.given:
                    if len(distinct) > _MANY:
                        yield self.warning(
                            where,
                            "numbers are read as categories, so 11,40 and 11,50 have nothing in common",
                            f"{count_of(len(distinct), 'distinct value')}, such as {distinct[0]!r}",
                            f"declare it as 'number' or 'log_number' in [schema.{side.name}]",
                        )
                    continue
                found = combinations(distinct)
                if found is not None:
                    separator = find_separator(distinct) or found[0]
                    yield self.warning(
                        where,
                        "most values are combinations of others: lists are read as one value each",
                        f"{found[1]:.0%} of {count_of(len(distinct), 'distinct value')} contain "
                        f"{found[0]!r} between parts that recur, such as "
                        f"{next(v for v in distinct if found[0] in v)!r}",
                        f'declare {name} = {{ kind = "categories", separator = "{separator}" }} in '
                        f"[schema.{side.name}]",
                    )
