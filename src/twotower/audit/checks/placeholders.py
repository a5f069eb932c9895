"""Placeholder values that mean "none", and a constant label."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.data.placeholders import constant, placeholder_ids, placeholder_label

_FEW = 100
"""Minimum number of rows."""


class Placeholders(Check):
    """A user or item that collects all rows without one, a label that means "unknown", a constant label."""

    name = "placeholders"
    looks_for = 'ids and labels that mean "none", and a constant label'

    def run(self, case: Case) -> Iterator[Finding]:
        """Count the rows with placeholder words and codes in ids and labels."""
        files = case.files.values()
        if sum(len(data) for data in files) < _FEW:
            return
        for side in case.sides:
            ids = pl.concat([data.interactions.get_column(side.ids) for data in files])
            for found in placeholder_ids(ids):
                yield self.warning(
                    f"column '{side.ids}' of the interactions",
                    f"a placeholder is treated as one {side.role} that collects all rows without an id",
                    str(found),
                    "drop these rows, or leave the id empty and set [schema] missing_ids = 'drop'",
                )
        label = case.schema.label
        if label is None:
            return
        labels = [data.interactions.get_column(label).cast(pl.Float64) for data in files]
        y = pl.concat(labels).to_numpy()
        none = placeholder_label(y)
        if none is not None:
            others = y[y != float(none.value)]
            yield self.warning(
                f"label '{label}'",
                "a label probably means 'unknown' but is learnt as a value",
                f"{none}; the others are between {others.min():g} and {others.max():g}",
                "drop these rows, or set their real label",
            )
        if constant(y):
            predicts = not case.config.objective.implicit
            yield self.note(
                f"label '{label}'",
                "the label is constant: "
                + ("`twotower train` refuses to predict it" if predicts else "it can't grade interactions"),
                f"all {len(y):,} labels are {y[0]:g}",
                "remove [schema] label and train to rank: every interaction is then a positive",
            )
