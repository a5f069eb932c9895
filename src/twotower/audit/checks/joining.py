"""Ids of the interactions that are missing from their table, and the likely reason."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.feature_table import FeatureTable
from twotower.audit.finding import Finding
from twotower.core.wording import count_of

_FEW = 0.01
"""Share of rows without features up to which this is only a note."""


class Joining(Check):
    """Interactions whose user or item has no row in the feature table."""

    name = "joining"
    looks_for = "ids that don't join, and row numbers used as ids"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look up every id of the interactions in its table."""
        for side in case.sides:
            if side.features:
                yield from self._side(case, side)

    def _side(self, case: Case, side: FeatureTable) -> Iterator[Finding]:
        events = pl.concat(
            [data.interactions.group_by(side.ids).agg(pl.len().alias("n")) for data in case.unique.values()]
        )
        counts = events.group_by(side.ids).agg(pl.col("n").sum())
        lost = counts.join(side.table.select(side.ids), on=side.ids, how="anti")
        if not lost.height:
            return
        rows, lost_rows = int(counts["n"].sum()), int(lost["n"].sum())
        where = f"{case.path(side.name)}, column '{side.ids}'"
        evidence = (
            f"not in it: {lost.height:,} of {count_of(counts.height, side.role)} of the interactions "
            f"({lost_rows / rows:.1%} of the rows), such as {lost.sort('n')[side.ids][-1]!r}"
        )
        missing = f"add these {side.role}s to the table; without a row all their features are missing"
        if _row_numbers(side.table.get_column(side.ids), lost.get_column(side.ids)):
            yield self.warning(
                where,
                "the ids look like row numbers: features were probably joined by position",
                f"{evidence}; the table's ids count from {side.table[side.ids][0]} to "
                f"{side.table[side.ids][-1]} without a gap, and all missing ids are outside this range",
                "keep the original id column when rows are dropped, and join on it",
            )
            return
        rewritten = _rewriting(side.table.get_column(side.ids), lost.get_column(side.ids))
        if rewritten is not None:
            missing = f"write the ids the same way in both tables: {rewritten}"
        if lost_rows > 0.5 * rows:
            yield self.error(where, f"most {side.role}s have no row in their table", evidence, missing)
        elif lost_rows > _FEW * rows or rewritten is not None:
            yield self.warning(where, f"some {side.role}s have no row in their table", evidence, missing)
        else:
            yield self.note(where, f"a few {side.role}s have no row in their table", evidence, missing)


def _row_numbers(ids: pl.Series, lost: pl.Series) -> bool:
    """Return whether the table's ids are its row numbers, and the missing ones come after them."""
    if not ids.dtype.is_integer() or ids[0] not in (0, 1):
        return False
    return bool((ids.cast(pl.Int64).diff().drop_nulls() == 1).all() and (lost > ids[-1]).all())


def _rewriting(ids: pl.Series, lost: pl.Series) -> str | None:
    """Return a simple rewriting with which most of the missing ids would join, if there is one."""
    if ids.dtype != pl.String:
        return None
    blank, cased = ids.str.strip_chars(), lost.str.strip_chars()
    ways = {
        "strip the spaces around them": (blank, cased),
        "use the same upper or lower case": (blank.str.to_lowercase(), cased.str.to_lowercase()),
        "strip leading zeros, and '.0' at the end": (_number(blank), _number(cased)),
    }
    for said, (ours, theirs) in ways.items():
        if theirs.is_in(ours.implode()).sum() > 0.5 * len(lost):
            return said
    return None


def _number(ids: pl.Series) -> pl.Series:
    return ids.str.strip_suffix(".0").str.strip_chars_start("0")
