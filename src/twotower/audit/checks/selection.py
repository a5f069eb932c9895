"""Model selection on the test set: a validation file that is the test file, or overlaps with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.core.wording import count_of
from twotower.data.duplicates import drop_rows_of


class Selection(Check):
    """A validation set with test rows: early stopping then picks the epoch that is best on the test set."""

    name = "selection"
    looks_for = "a validation set that is, or overlaps with, the test set"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the validation file with the test file, by path and by rows."""
        if "validation" not in case.unique:
            return
        where, split = case.path("validation"), case.config.split
        fix = "leave split.validation out (training rows are then held out), or use separate rows"
        if _same_file(split.validation, split.test):
            evidence = "split.validation and split.test name the same file"
            yield self.error(where, "the validation set is the test set", evidence, fix)
            return
        validation, test = case.unique["validation"], case.unique["test"]
        shared = len(validation) - len(drop_rows_of(validation, test, "validation", "test"))
        if not shared:
            return
        evidence = f"{shared:,} of its {count_of(len(validation), 'row')} are also in {case.path('test')}"
        if shared >= 0.5 * len(validation):
            yield self.error(where, "the validation set is the test set", evidence, fix)
        else:
            yield self.warning(where, "the validation set contains test rows", evidence, fix)


def _same_file(one: object, other: object) -> bool:
    if not (isinstance(one, str) and isinstance(other, str)):
        return False
    return one == other or (Path(one).exists() and Path(other).exists() and Path(one).samefile(other))
