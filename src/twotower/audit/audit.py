"""Run every check on the data of a config."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twotower.audit.case import Case
from twotower.audit.checks import CHECKS
from twotower.audit.finding import Finding, Severity
from twotower.config import Config, resolved
from twotower.datasets.configured import read_raw


def _quiet(stage: str) -> None:
    del stage


@dataclass(frozen=True)
class Audit:
    """The result of all checks.

    Attributes:
        findings: errors first, then warnings, then notes.
        rows: number of rows of each set, without duplicates.
        seconds: how long each stage took: reading, splitting, and every check.
    """

    findings: tuple[Finding, ...]
    rows: dict[str, int]
    seconds: dict[str, float]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    def as_dict(self) -> dict[str, Any]:
        """Return the audit as printed by ``--json``."""
        return {
            "counts": {severity.value: len(self.of(severity)) for severity in Severity},
            "findings": [finding.as_dict() for finding in self.findings],
            "rows": self.rows,
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
        }


def audit(config: Config, *, progress: Callable[[str], None] = _quiet) -> Audit:
    """Read the data of a config, split it, and run every check.

    Args:
        config: the config to check; nothing is trained.
        progress: called with each stage when it begins.

    Raises:
        ConfigError, DataError: a table can't be read; if it can be read but not split, that is a finding.
    """
    config, seconds = resolved(config), {}

    def timed(stage: str, start: float) -> None:
        seconds[stage] = time.perf_counter() - start

    progress("reading the tables")
    start = time.perf_counter()
    files = read_raw(config)
    timed("reading", start)
    progress("dropping duplicates and splitting")
    start = time.perf_counter()
    case = Case(config, files)
    timed("splitting", start)
    findings = []
    if case.fault is not None:
        fix = "fix what the message says; `twotower train` stops with this error"
        what = "the data can't be split as the config says"
        findings.append(Finding("split", Severity.ERROR, "[split]", what, case.fault, fix))
    progress(f"running {len(CHECKS)} checks")
    for check in CHECKS:
        start = time.perf_counter()
        findings += check().run(case)
        timed(check.name, start)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Audit(tuple(findings), {name: len(part) for name, part in case.parts.items()}, seconds)
