"""The checks, one per file, in the order in which they are run and reported."""

from typing import Final

from twotower.data.audit.check import Check
from twotower.data.audit.checks.alignment import Alignment
from twotower.data.audit.checks.cold import Cold
from twotower.data.audit.checks.columns import Columns
from twotower.data.audit.checks.combined import Combined
from twotower.data.audit.checks.coming_back import ComingBack
from twotower.data.audit.checks.completeness import Completeness
from twotower.data.audit.checks.duplicates import Duplicates
from twotower.data.audit.checks.duration import Duration
from twotower.data.audit.checks.future import Future
from twotower.data.audit.checks.identity import Identity
from twotower.data.audit.checks.joining import Joining
from twotower.data.audit.checks.nominal_codes import NominalCodes
from twotower.data.audit.checks.placeholders import Placeholders
from twotower.data.audit.checks.popularity import Popularity
from twotower.data.audit.checks.read_as import ReadAs
from twotower.data.audit.checks.scale import Scale
from twotower.data.audit.checks.selection import Selection
from twotower.data.audit.checks.tails import Tails
from twotower.data.audit.checks.target import Target

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
