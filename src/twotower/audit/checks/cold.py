"""Users and items of the test set without interactions in the training set."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.core.wording import count_of

_SOME, _MOST = 0.01, 0.5


class Cold(Check):
    """Test rows whose user or item is cold: the model only knows their features, if any."""

    name = "cold"
    looks_for = "test rows of users and items without training interactions"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look up the ids of the test rows in the training set."""
        if case.fault is not None:
            return
        test, train = case.parts["test"].interactions, case.parts["train"].interactions
        for side in case.sides:
            warm = train.select(pl.col(side.ids).unique())
            counts = test.group_by(side.ids).agg(pl.len().alias("n"))
            cold = counts.join(warm, on=side.ids, how="anti")
            rows = int(cold["n"].sum() or 0)
            share = rows / test.height
            if share < _SOME:
                continue
            where = f"test set, {side.role}s"
            evidence = (
                f"{share:.1%} of the {count_of(test.height, 'test row')} are of "
                f"{count_of(cold.height, side.role)} without any training interaction"
            )
            meant = case.config.split.kind().cold == side.name
            if meant or share < _MOST:
                yield self.note(
                    where, f"some {side.role}s are cold", evidence, "look at the metrics of the slices too"
                )
            else:
                fix = (
                    "look at the metrics of the warm slice, or split per user"
                    if side.features
                    else f"add features of the {side.role}s: without them nothing is known of a cold one"
                )
                yield self.warning(where, f"most test rows are of cold {side.role}s", evidence, fix)
