"""Users who come back to items: test pairs that are also in the training set."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.core.wording import count_of

_SOME, _MANY = 0.01, 0.1


class ComingBack(Check):
    """Repeat consumption: pairs that a ranking can't find while seen items are excluded."""

    name = "coming-back"
    looks_for = "test pairs of user and item that are also in the training set"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look up the test pairs in the training and validation set, which a model is refitted on."""
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
            "test set",
            f"{rows:,} of {count_of(whole, 'test row')} ({share:.0%}) are of a pair seen in training",
        )
        if not case.config.evaluation.exclude_seen:
            yield self.note(
                where,
                "users come back to items, and seen items can be recommended",
                evidence,
                "keep it, or set evaluation.exclude_seen = true to recommend only new items",
            )
            return
        what = "users come back to items, and the ranking metrics leave these pairs out"
        fix = (
            "set evaluation.exclude_seen = false if recommending known items is useful (music, "
            "groceries); otherwise the metrics are about new items"
        )
        yield (self.warning if share >= _MANY else self.note)(where, what, evidence, fix)
