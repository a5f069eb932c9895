"""How the text of columns was read: units, patterns, separators; what was missing or dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding

_NOTE = re.compile(r"(.*?), column '(.*?)': (.*)", re.DOTALL)


class ReadAs(Check):
    """Columns whose unit, pattern or separator was detected rather than set in the schema."""

    name = "read-as"
    looks_for = "units, patterns and separators detected in the values"

    def run(self, case: Case) -> Iterator[Finding]:
        """Repeat the reader's notes on columns."""
        notes = dict.fromkeys(note for data in case.files.values() for note in data.notes)
        for found in filter(None, map(_NOTE.fullmatch, notes)):
            yield self.note(
                f"{found[1].rsplit('/', 1)[-1]}, column '{found[2]}'",
                found[3],
                "the values of the whole column",
                "nothing to do if this is right; otherwise set how to read it in [schema]",
            )
