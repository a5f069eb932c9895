"""Holes in a fully observed matrix: rows dropped because something else in them was missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.data.duplicates import row_hashes

_FULL, _MEANT = 0.99, 0.85
"""Shares of observed cells: from the first on nothing is missing; from the second on a matrix was meant to be
complete."""


class Completeness(Check):
    """A test file in which nearly every user has nearly every item, except for dropped rows.

    ``dropna`` deletes a row with a label because its time is missing. In a sparse log this can't be detected;
    in a fully observed matrix (KuaiRec's small one) it leaves holes.
    """

    name = "completeness"
    looks_for = "rows dropped from a fully observed matrix"

    def run(self, case: Case) -> Iterator[Finding]:
        """Count the cells of each file."""
        user, item = case.schema.user, case.schema.item
        for name, data in case.unique.items():
            rows = data.interactions
            users, items = rows.get_column(user).n_unique(), rows.get_column(item).n_unique()
            cells = users * items
            if min(users, items) < 20 or rows.height < _MEANT * cells:
                continue
            hashes = np.sort(row_hashes(rows.select(user, item)))
            observed = 1 + int((hashes[1:] != hashes[:-1]).sum())
            if not _MEANT * cells <= observed < _FULL * cells:
                continue
            lengths = rows.group_by(user).agg(pl.col(item).n_unique().alias("n")).get_column("n").to_numpy()
            yield self.warning(
                case.path(name),
                "rows were probably dropped from a fully observed matrix",
                f"{cells - observed:,} of {users:,} users x {items:,} items = {cells:,} cells are missing "
                f"({1 - observed / cells:.1%}); {np.mean(lengths < items):.0%} of the users have holes",
                "keep rows whose time or features are missing (no dropna): their labels are valid, and "
                "missing values are supported",
            )
