"""Features given to the wrong rows: looked up by position, or assigned from a frame with another index.

A useful feature correlates with the labels of its user (or item). If it does not in the present order of the
rows, but strongly does in another order, its values belong to that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.feature_table import FeatureTable
from twotower.audit.finding import Finding
from twotower.audit.orders import other_orders, shifts
from twotower.audit.statistics import Codes, Floats, common_codes, group_deviates, normal_scores

_LEAST = 60
"""Minimum number of rows of a table to tell orders apart."""
_SURE = 6.5
"""Standard deviations by which the other order must fit: 1 in 10^10 by chance, with about 10^5 tries."""
_BETTER = 4.5
"""Standard deviations by which it must fit better than the present order."""
_BLOCK = 40
"""Rows over which the drift of the target along the table is removed: two drifting columns fit in any
order."""
_SHIFTS = 60
_ROWS = 20_000
"""Number of rows examined per piece."""
_PIECES = 4
"""Pieces of the table in which shifts are looked for separately: a row dropped in the middle shifts the
rest."""


@dataclass(frozen=True)
class _Fit:
    """An order of the rows; the standard deviations by which a column fits in it, and in the present
    order."""

    said: str
    z: float
    here: float


@dataclass(frozen=True, eq=False)
class _Trial:
    """The target of m rows in the present and in k other orders, (1 + k, m), and which values are known."""

    part: slice
    said: list[str]
    targets: Floats
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, target: Floats, orders: list[tuple[str, Codes]], part: slice, suffix: str = "") -> _Trial:
        """Read a piece of the target in the present and in other orders, without its drift."""
        here = np.arange(len(target))
        read = np.stack([_level(target[order[part]]) for _, order in [("", here), *orders]])
        known = np.isfinite(read)
        return cls(part, [said + suffix for said, _ in orders], np.where(known, read, 0.0), known)

    def best(self, groups: Codes) -> _Fit | None:
        """Return the order in which a column fits best."""
        if not self.said:
            return None
        here, *others = group_deviates(groups[self.part], self.targets, self.known).tolist()
        place = int(np.argmax(others))
        return _Fit(self.said[place], others[place], here)


class Alignment(Check):
    """Feature columns whose values fit another order of the rows far better than the present one."""

    name = "alignment"
    looks_for = "features that fit another row order better (joined by position instead of id)"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare every feature with the mean label of each row, in other orders of the rows."""
        for side in case.sides:
            if side.features and side.table.height >= _LEAST and case.schema.label is not None:
                yield from self._side(case, side)

    def _side(self, case: Case, side: FeatureTable) -> Iterator[Finding]:
        y = case.centres[side.name]
        known = np.isfinite(y)
        if known.sum() < _LEAST:
            return
        target = np.where(known, 0.0, np.nan)
        target[known] = normal_scores(y[known])
        trials = _trials(case, side, target)
        columns = {name: groups for name in side.features if (groups := _groups(side, name)) is not None}
        displaced = {name: fit for name, groups in columns.items() if (fit := _best(groups, trials))}
        for said in dict.fromkeys(fit.said for fit in displaced.values()):
            names = [name for name, fit in displaced.items() if fit.said == said]
            best = max((displaced[name] for name in names), key=lambda fit: fit.z)
            listed = ", ".join(f"'{name}'" for name in names[:6]) + (", ..." if len(names) > 6 else "")
            yield self.error(
                f"{case.path(side.name)}, column{'s' if len(names) > 1 else ''} {listed}",
                "the values probably belong to other rows",
                f"in {said} they correlate with the {side.name}' mean labels by {best.z:.1f} standard "
                f"deviations, in the present order by {best.here:.1f} ({int(known.sum()):,} {side.name})",
                f"join the column by '{side.ids}', one row per id; never by position or by the index of a "
                "frame",
            )


def _groups(side: FeatureTable, name: str) -> Codes | None:
    groups = side.groups(name)
    if groups is None:
        return None
    groups = common_codes(groups, 5)
    return groups if len(np.unique(groups)) > 1 else None


def _trials(case: Case, side: FeatureTable, target: Floats) -> list[_Trial]:
    """Return the other orders to try: of the whole table, and shifts of its later pieces."""
    n = len(target)
    events = next(iter(case.files.values())).interactions.get_column(side.ids)
    shifted = list(shifts(n, _SHIFTS))
    orders = [*other_orders(side.table.get_column(side.ids), events), *shifted]
    trials = [_Trial.of(target, orders, slice(0, min(n, _ROWS)))]
    if n >= _PIECES * 4 * _BLOCK:
        for piece in range(1, _PIECES):  # the first piece is where the rows were still aligned
            start, end = piece * n // _PIECES, (piece + 1) * n // _PIECES
            part = slice(start, min(end, start + _ROWS))
            trials.append(_Trial.of(target, shifted, part, f" from about row {start + 1:,} on"))
    return trials


def _best(groups: Codes, trials: list[_Trial]) -> _Fit | None:
    """Return the order in which the column fits far better than in the present one, if there is one."""
    fits = [fit for trial in trials if (fit := trial.best(groups)) is not None]
    best = max(fits, key=lambda fit: fit.z, default=None)
    if best is None or best.z < _SURE or best.z < best.here + _BETTER or best.here > best.z / 2:
        return None
    return best


def _level(y: Floats) -> Floats:
    """Subtract the mean of each block of neighbouring rows from (n,) values; nan stays nan."""
    known = np.isfinite(y)
    block = np.arange(len(y)) // _BLOCK
    counts = np.bincount(block[known], minlength=block[-1] + 1)
    sums = np.bincount(block[known], weights=y[known], minlength=block[-1] + 1)
    level: Floats = y - (sums / np.maximum(counts, 1))[block]
    return level
