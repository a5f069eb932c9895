"""What a check has found: where, how bad, by what evidence, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


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
        mend: what to do.
    """

    check: str
    severity: Severity
    where: str
    what: str
    evidence: str
    mend: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as ``--json`` has it."""
        return {key: str(value) for key, value in asdict(self).items()}
