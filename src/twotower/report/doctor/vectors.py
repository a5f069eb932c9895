"""Problems of the vectors: collapsed or far too long."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.finding import Finding
from twotower.core.wording import count_of
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.geometry import Geometry

_FEWEST = 1.5
_PART, _WIDE = 25, 64
"""Vectors that use less than 1.5 directions, or a 25th of their dimensions, have collapsed. Dimensions beyond
64 don't count: the directions of wide vectors have ever less variance."""
_LONG = 30.0
"""A vector so many times as long as the median one is too long."""
_ZEROS = 0.05
_FEW_ROWS = 10
"""Fewer rows are not checked."""


def collapsed(of: Geometry) -> bool:
    """Return whether vectors use only a few directions."""
    return of.effective_dim < max(_FEWEST, min(of.dim, _WIDE) / _PART)


class CollapsedVectors(Probe):
    """Vectors that lie along one or two directions: the dot product can't express tastes."""

    name = "collapsed-vectors"
    looks_for = "vectors that are all the same or use only a few directions"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the number of directions in use with the number of dimensions."""
        for which, of in _sides(case):
            if of.rows < _FEW_ROWS or of.dim < 2 or not of.finite:
                continue
            where = f"vectors of the {which}"
            if of.effective_dim == 0:
                yield self.warning(
                    where,
                    f"the vectors of all {which} are the same",
                    f"{of.rows:,} vectors of {of.dim} dimensions have no variance",
                    ("lower " if case.solved else "lower training.learning_rate and ")
                    + f"{case.held_back_by}, and look at the loss of the first epochs",
                )
            elif collapsed(of):
                yield self.warning(
                    where,
                    f"the vectors of the {which} have collapsed onto a few directions",
                    f"{of.effective_dim:.1f} effective dimensions of {of.dim}; one direction alone has "
                    f"{of.first:.0%} of the variance",
                    f"lower {case.held_back_by} or model.dim, or train on more data",
                )
            elif of.still:
                yield self.note(
                    where,
                    f"{count_of(of.still, 'dimension')} of the vectors of the {which} "
                    f"{'is' if of.still == 1 else 'are'} constant",
                    f"{of.still} of {of.dim} vary by less than a thousandth of the most varying one",
                    "a smaller model.dim gives the same lists, and searches faster",
                )


class Norms(Probe):
    """Vectors that are not finite, of length 0, or far longer than all others."""

    name = "norms"
    looks_for = "vectors of length 0, far too long ones, numbers that are not finite"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look at the lengths of the warm vectors."""
        for which, of in _sides(case):
            where = f"vectors of the {which}"
            _, median, _, greatest = of.norms
            if not of.finite:
                yield self.error(
                    where,
                    f"vectors of the {which} hold numbers that are not finite",
                    f"among {of.rows:,} vectors of {of.dim} dimensions",
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
                    "lower objective.regularisation, or add features",
                )
            if median > 0 and greatest > _LONG * median:
                yield self.warning(
                    where,
                    f"some vectors of the {which} are far longer than the others, and dominate all lists",
                    f"the longest has length {greatest:.3g}, the median is {median:.3g}",
                    "raise objective.regularisation, check whether a column of kind number should be "
                    "log_number, or "
                    "set model.normalise",
                )


def _sides(case: Case) -> Iterator[tuple[str, Geometry]]:
    yield "users", case.users
    yield "items", case.items
