"""Ailments of the vectors: collapsed ones, and lengths that are out of hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from twotower.data.audit.finding import Finding
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.geometry import Geometry

_FEWEST = 1.5
_PART = 25
"""Vectors that use less than 1.5 directions, or a 25th of their places, have collapsed."""
_LONG = 30.0
"""A vector so many times as long as the median one is out of hand."""
_ZEROS = 0.05
_FEW_ROWS = 10
"""Of fewer rows nothing is said."""


class CollapsedVectors(Probe):
    """Vectors that lie along one or two directions: the dot product can't tell tastes apart."""

    name: ClassVar[str] = "collapsed-vectors"
    looks_for: ClassVar[str] = "vectors that are all alike or use a few directions only"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the directions in use with the places there are."""
        for which, of in _sides(case):
            if of.rows < _FEW_ROWS or of.dim < 2 or not of.finite:
                continue
            where = f"vectors of the {which}"
            if of.effective_dim == 0:
                yield self.warning(
                    where,
                    f"the vectors of all {which} are the same",
                    f"{of.rows:,} vectors of {of.dim} places have no variance",
                    ("lower " if case.solved else "lower training.learning_rate and ")
                    + "objective.regularisation, and look at the loss of the first epochs",
                )
            elif of.effective_dim < max(_FEWEST, of.dim / _PART):
                yield self.warning(
                    where,
                    f"the vectors of the {which} have collapsed onto a few directions",
                    f"{of.dim} places, of which {of.effective_dim:.1f} directions are in use; one direction "
                    f"alone holds {of.first:.0%} of the variance",
                    "lower objective.regularisation or model.dim, or train on more data",
                )
            elif of.still:
                yield self.note(
                    where,
                    f"places of the vectors of the {which} are the same for everyone",
                    f"{of.still} of {of.dim} places vary by less than a thousandth of the most varying one",
                    "a smaller model.dim does as well, and is quicker to search",
                )


class Norms(Probe):
    """Vectors that are no numbers, of no length, or far longer than all others."""

    name: ClassVar[str] = "norms"
    looks_for: ClassVar[str] = "vectors without length, far too long ones, numbers that are none"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look at the lengths of the warm vectors."""
        for which, of in _sides(case):
            where = f"vectors of the {which}"
            _, median, _, greatest = of.norms
            if not of.finite:
                yield self.error(
                    where,
                    f"vectors of the {which} hold numbers that are not finite",
                    f"among {of.rows:,} vectors of {of.dim} places",
                    "raise objective.regularisation, and train again"
                    if case.solved
                    else "lower training.learning_rate, set training.clip_norm, and train again",
                )
                continue
            if of.zeros > 0 and of.zeros >= _ZEROS * of.rows:
                yield self.warning(
                    where,
                    f"many {which} have a vector of length 0, and get the same list or none",
                    f"{of.zeros:,} of {of.rows:,} vectors of warm {which}",
                    "lower objective.regularisation, or give features",
                )
            if median > 0 and greatest > _LONG * median:
                yield self.warning(
                    where,
                    f"some vectors of the {which} are far longer than the others, and push into every list",
                    f"the longest has length {greatest:.3g}, the median {median:.3g}",
                    "raise objective.regularisation, look for a log_number that is declared a number, or "
                    "set model.normalise",
                )


def _sides(case: Case) -> Iterator[tuple[str, Geometry]]:
    yield "users", case.users
    yield "items", case.items
