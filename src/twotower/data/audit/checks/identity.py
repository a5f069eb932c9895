"""Ids that identify nothing: a column that differs in every row, or ids that the model hardly sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from twotower.data.audit.case import Case
from twotower.data.audit.check import Check
from twotower.data.audit.finding import Finding

_UNIQUE = 0.95
_HIDDEN = 0.5


class Identity(Check):
    """Users or items without an identity: nothing can be learnt of one that is met once."""

    name: ClassVar[str] = "identity"
    looks_for: ClassVar[str] = "id columns that differ in every row, and ids hidden from the model"

    def run(self, case: Case) -> Iterator[Finding]:
        """Count distinct ids, and read the settings."""
        for side in case.sides:
            events = case.parts["train"].interactions
            distinct, rows = events.get_column(side.ids).n_unique(), events.height
            if rows >= 100 and distinct >= _UNIQUE * rows:
                yield self.error(
                    f"[schema] {side.role}, column '{side.ids}'",
                    f"nearly every interaction has a {side.role} of its own",
                    f"{distinct:,} {side.role}s in {rows:,} train rows",
                    f"name the column with the {side.role}'s id, not that of the row or the event",
                )
        hidden = case.config.model.id_dropout
        if case.config.objective.name == "all_pairs":
            return  # it solves for what ids add once features have had their say
        if isinstance(hidden, float) and hidden > _HIDDEN:
            yield self.warning(
                "model.id_dropout",
                "ids are hidden from the model most of the time, so that it knows features alone",
                f"{hidden:.0%} of the users and items in each step",
                "leave it at its default; ids are most of what is known of a warm user or item",
            )
