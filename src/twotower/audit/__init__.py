"""The audit of a config's data: problems that would make its metrics wrong, with evidence and fixes."""

from twotower.audit.audit import Audit, audit
from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.checks import CHECKS
from twotower.audit.finding import Finding, Severity

__all__ = ["CHECKS", "Audit", "Case", "Check", "Finding", "Severity", "audit"]
