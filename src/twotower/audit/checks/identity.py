"""Ids without identity: a column that differs in every row, or ids that the model hardly sees."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.core.wording import count_of

_UNIQUE = 0.95
_HIDDEN = 0.5


class Identity(Check):
    """Users or items that occur only once: nothing can be learnt about them."""

    name = "identity"
    looks_for = "id columns that differ in every row, and ids hidden from the model"

    def run(self, case: Case) -> Iterator[Finding]:
        """Count distinct ids, and check the settings."""
        for side in case.sides:
            events = case.parts["train"].interactions
            distinct, rows = events.get_column(side.ids).n_unique(), events.height
            if rows >= 100 and distinct >= _UNIQUE * rows:
                yield self.error(
                    f"[schema] {side.role}, column '{side.ids}'",
                    f"nearly every interaction has a different {side.role}",
                    f"{count_of(distinct, side.role)} in {count_of(rows, 'training row')}",
                    f"name the column with the {side.role}'s id, not with the id of the row or the event",
                )
        hidden = getattr(case.config.training, "id_dropout", None)
        if case.config.objective.quadratic == "cells":
            return  # what ids add to the features is solved for
        if isinstance(hidden, float) and hidden > _HIDDEN:
            yield self.warning(
                "training.id_dropout",
                "ids are hidden from the model most of the time, so it mostly learns from features",
                f"{hidden:.0%} of the users and items in each step",
                "leave it at its default; for warm users and items the id is the main information",
            )
