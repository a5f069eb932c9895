"""What the text of columns was read as: units, patterns, separators; what was missing or dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from twotower.data.audit.case import Case
from twotower.data.audit.check import Check
from twotower.data.audit.finding import Finding

_NOTE = re.compile(r"(.*?), column '(.*?)': (.*)", re.DOTALL)


class ReadAs(Check):
    """Columns whose unit, pattern or separator was found in their values, and not said in the schema."""

    name: ClassVar[str] = "read-as"
    looks_for: ClassVar[str] = "units, patterns and separators that were found in the values"

    def run(self, case: Case) -> Iterator[Finding]:
        """Repeat what the reader has noted of columns."""
        notes = dict.fromkeys(note for data in case.files.values() for note in data.notes)
        for found in filter(None, map(_NOTE.fullmatch, notes)):
            yield self.note(
                f"{found[1].rsplit('/', 1)[-1]}, column '{found[2]}'",
                found[3],
                "found in the values of the whole column",
                "nothing to do if it is right; else declare how to read it in [schema]",
            )
