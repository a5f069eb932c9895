"""`Check`: one kind of fault, looked for in a `Case`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, final

from twotower.data.audit.case import Case
from twotower.data.audit.finding import Finding, Severity


class Check(ABC):
    """Looks for one kind of fault.

    A subclass sets ``name`` and ``looks_for``, and yields findings from `run`. It changes nothing, holds no
    state, and says nothing of data that it can't judge (too few rows, no such column).
    """

    name: ClassVar[str]
    """What the check is called, in lower case with hyphens."""
    looks_for: ClassVar[str]
    """What it looks for, in a few words."""

    @abstractmethod
    def run(self, case: Case) -> Iterator[Finding]:
        """Yield what is found in the case."""

    @final
    def error(self, where: str, what: str, evidence: str, mend: str) -> Finding:
        """Build a finding that makes figures mean something else than they say."""
        return Finding(self.name, Severity.ERROR, where, what, evidence, mend)

    @final
    def warning(self, where: str, what: str, evidence: str, mend: str) -> Finding:
        """Build a finding that costs accuracy or misleads."""
        return Finding(self.name, Severity.WARNING, where, what, evidence, mend)

    @final
    def note(self, where: str, what: str, evidence: str, mend: str) -> Finding:
        """Build a finding that is good to know."""
        return Finding(self.name, Severity.NOTE, where, what, evidence, mend)
