"""What a check has found: where, how bad, by what evidence, and how to fix it."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import ClassVar, final

from twotower.errors import RenamedWarning


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Figures made from this data mean something else than they say."""
    WARNING = "warning"
    """Accuracy is lost, or a figure is easily misread."""
    NOTE = "note"
    """Good to know; nothing has to be done."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check has found.

    Attributes:
        check: name of the check.
        severity: how much it matters.
        where: the table and column, the part or the setting.
        what: what is wrong, in one sentence.
        evidence: the figures that say so.
        fix: what to do.
    """

    check: str
    severity: Severity
    where: str
    what: str
    evidence: str
    fix: str

    @property
    def mend(self) -> str:
        """The old name of `fix`, for one more version."""
        warnings.warn("Finding.mend is now called Finding.fix", RenamedWarning, stacklevel=2)
        return self.fix

    def as_dict(self) -> dict[str, str]:
        """Return the finding as ``--json`` has it: ``fix`` is also there under its old name ``mend``."""
        return {key: str(value) for key, value in (asdict(self) | {"mend": self.fix}).items()}


class Finder:
    """Whatever builds findings under a name of its own.

    A subclass sets ``name`` and ``looks_for``.
    """

    name: ClassVar[str]
    """What it is called, in lower case with hyphens."""
    looks_for: ClassVar[str]
    """What it looks for, in a few words."""

    @final
    def error(self, where: str, what: str, evidence: str, fix: str) -> Finding:
        """Build a finding that makes figures mean something else than they say."""
        return Finding(self.name, Severity.ERROR, where, what, evidence, fix)

    @final
    def warning(self, where: str, what: str, evidence: str, fix: str) -> Finding:
        """Build a finding that costs accuracy or misleads."""
        return Finding(self.name, Severity.WARNING, where, what, evidence, fix)

    @final
    def note(self, where: str, what: str, evidence: str, fix: str) -> Finding:
        """Build a finding that is good to know."""
        return Finding(self.name, Severity.NOTE, where, what, evidence, fix)
