"""Feature columns without information: empty, or constant."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.feature_table import FeatureTable
from twotower.audit.finding import Finding
from twotower.core.wording import count_of

_EMPTY = 0.95
_CONSTANT = 0.999


class Columns(Check):
    """Features that are missing, or have the same value, in nearly every row."""

    name = "columns"
    looks_for = "nearly empty and nearly constant feature columns"

    def run(self, case: Case) -> Iterator[Finding]:
        """Count missing and equal values."""
        for side in case.sides:
            for name in side.features:
                yield from self._column(case, side, name)

    def _column(self, case: Case, side: FeatureTable, name: str) -> Iterator[Finding]:
        column, n = side.table.get_column(name), side.table.height
        where, fix = f"{case.path(side.name)}, column '{name}'", f"remove it from [schema.{side.name}]"
        missing = column.null_count()
        if missing == n:
            evidence = "all values are missing"
            fix = f"fill it (was it joined on the wrong key?), or {fix}"
            yield self.warning(where, "the feature is empty", evidence, fix)
            return
        if missing > _EMPTY * n:
            evidence = f"{missing / n:.1%} of {count_of(n, 'value')} are missing"
            yield self.note(where, "the feature is nearly empty", evidence, fix)
            return
        counts = column.drop_nulls().alias("value").value_counts(sort=True).get_column("count")
        most = int(counts[0])
        if most >= _CONSTANT * (n - missing) and n >= 20:
            rest = n - missing - most
            if rest:
                evidence = f"{most:,} of {count_of(n - missing, 'value')} are the same"
                yield self.note(where, "the feature is nearly constant", evidence, fix)
            else:
                yield self.note(where, "the feature is constant", "all values are the same", fix)
