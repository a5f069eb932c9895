"""A finding of a check: where, how severe, the evidence, and the fix."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import ClassVar, final

from twotower.errors import RenamedWarning


class Severity(StrEnum):
    """The severity of a finding."""

    ERROR = "error"
    """Metrics from this data would not mean what they say."""
    WARNING = "warning"
    """Accuracy is lost, or a metric is easily misread."""
    NOTE = "note"
    """Good to know; nothing needs to be done."""


@dataclass(frozen=True)
class Finding:
    """One finding of a check.

    Attributes:
        check: name of the check.
        severity: its severity.
        where: the table and column, the set or the setting.
        what: what is wrong, in one sentence.
        evidence: the figures that show it.
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
        """Return the finding as printed by ``--json``; ``fix`` is also there under its old name ``mend``."""
        return {key: str(value) for key, value in (asdict(self) | {"mend": self.fix}).items()}


class Finder:
    """Base of classes that build findings under their own name.

    A subclass sets ``name`` and ``looks_for``.
    """

    name: ClassVar[str]
    """Its name, in lower case with hyphens."""
    looks_for: ClassVar[str]
    """What it looks for, in a few words."""

    @final
    def error(self, where: str, what: str, evidence: str, fix: str) -> Finding:
        """Build a finding because of which metrics would not mean what they say."""
        return Finding(self.name, Severity.ERROR, where, what, evidence, fix)

    @final
    def warning(self, where: str, what: str, evidence: str, fix: str) -> Finding:
        """Build a finding that costs accuracy or misleads."""
        return Finding(self.name, Severity.WARNING, where, what, evidence, fix)

    @final
    def note(self, where: str, what: str, evidence: str, fix: str) -> Finding:
        """Build a finding that is good to know."""
        return Finding(self.name, Severity.NOTE, where, what, evidence, fix)
