"""The checks, one per file, in the order in which they are run and reported."""

from typing import Final

from twotower.audit.check import Check
from twotower.audit.checks.alignment import Alignment
from twotower.audit.checks.cold import Cold
from twotower.audit.checks.columns import Columns
from twotower.audit.checks.combined import Combined
from twotower.audit.checks.coming_back import ComingBack
from twotower.audit.checks.completeness import Completeness
from twotower.audit.checks.duplicates import Duplicates
from twotower.audit.checks.duration import Duration
from twotower.audit.checks.future import Future
from twotower.audit.checks.identity import Identity
from twotower.audit.checks.joining import Joining
from twotower.audit.checks.nominal_codes import NominalCodes
from twotower.audit.checks.placeholders import Placeholders
from twotower.audit.checks.popularity import Popularity
from twotower.audit.checks.read_as import ReadAs
from twotower.audit.checks.scale import Scale
from twotower.audit.checks.selection import Selection
from twotower.audit.checks.tails import Tails
from twotower.audit.checks.target import Target

CHECKS: Final[tuple[type[Check], ...]] = (
    Duplicates,
    Placeholders,
    Selection,
    Completeness,
    Identity,
    Joining,
    Alignment,
    Target,
    Future,
    NominalCodes,
    Combined,
    Columns,
    Scale,
    Tails,
    Duration,
    Cold,
    ComingBack,
    Popularity,
    ReadAs,
)

__all__ = ["CHECKS"]
