"""The audit of a config's data: problems that would make its metrics wrong, with evidence and fixes."""

from twotower.data.audit.audit import Audit, audit
from twotower.data.audit.case import Case
from twotower.data.audit.check import Check
from twotower.data.audit.checks import CHECKS
from twotower.data.audit.finding import Finding, Severity

__all__ = ["CHECKS", "Audit", "Case", "Check", "Finding", "Severity", "audit"]
