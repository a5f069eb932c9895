"""The doctor: problems of a trained model, with evidence and what to do."""

from __future__ import annotations

from twotower.audit.finding import Finding, Severity
from twotower.report.case import Case
from twotower.report.doctor.accuracy import Baselines, Predictions
from twotower.report.doctor.data import ColdRows, OtherData
from twotower.report.doctor.features import UnreadFeatures
from twotower.report.doctor.lists import PopularityTilt, SameLists
from twotower.report.doctor.probe import Probe
from twotower.report.doctor.training import Generalisation, Learning, ValidationGap
from twotower.report.doctor.vectors import CollapsedVectors, Norms

PROBES: tuple[Probe, ...] = (
    OtherData(),
    CollapsedVectors(),
    Norms(),
    SameLists(),
    PopularityTilt(),
    Baselines(),
    Predictions(),
    Learning(),
    Generalisation(),
    ValidationGap(),
    ColdRows(),
    UnreadFeatures(),
)
"""All checks, in the order in which they run."""


def examine(case: Case) -> tuple[Finding, ...]:
    """Return what every probe finds: errors first, then warnings, then notes."""
    found = [finding for probe in PROBES for finding in probe.run(case)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


__all__ = ["PROBES", "Probe", "examine"]
