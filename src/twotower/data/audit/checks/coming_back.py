"""Users who come back to items: test pairs that are in train, too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from twotower.data.audit.case import Case
from twotower.data.audit.check import Check
from twotower.data.audit.finding import Finding

_SOME, _MANY = 0.01, 0.1


class ComingBack(Check):
    """Repeat consumption: pairs that a ranking does not look for unless it may give what was seen."""

    name: ClassVar[str] = "coming-back"
    looks_for: ClassVar[str] = "test pairs of user and item that are in train, too"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look up the test pairs among those of train and validation, which a model is refitted on."""
        if case.fault is not None or not case.config.evaluation.ranking:
            return
        columns = [case.schema.user, case.schema.item]
        test = case.parts["test"].interactions.select(columns)
        rows = 0
        for part in ("train", "validation"):
            known = case.parts[part].interactions.select(columns).unique()
            rows += test.join(known, on=columns, how="semi").height
            test = test.join(known, on=columns, how="anti")
        whole = rows + test.height
        share = rows / whole
        if share < _SOME:
            return
        where, evidence = (
            "test part",
            f"{rows:,} of {whole:,} test rows ({share:.0%}) are of a pair seen in train",
        )
        if not case.config.evaluation.exclude_seen:
            yield self.note(
                where,
                "users come back to items, and lists may hold what they have seen",
                evidence,
                "leave it so, or set evaluation.exclude_seen = true to recommend new items alone",
            )
            return
        what = "users come back to items, and the ranking leaves these pairs out"
        fix = (
            "set evaluation.exclude_seen = false if recommending what someone knows is useful (music, "
            "groceries); else read the figures as those of new items"
        )
        yield (self.warning if share >= _MANY else self.note)(where, what, evidence, fix)
