"""A few extreme labels that dominate the squared error, and so RMSE and R2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.targets.registry import TRANSFORMS

_TOP = 0.01
_OWNED = 0.4
"""Share of the squared deviations from that share of the rows: 8% for a normal label, 20% for an exponential
one."""
_DISTINCT = 20
"""Labels with fewer values are ratings or binary, and have no tail."""


class Tails(Check):
    """Labels whose largest 1% carries most of the variance: an uncapped RMSE is about those rows."""

    name = "tails"
    looks_for = "a heavy tail of the label that dominates the metrics"

    def run(self, case: Case) -> Iterator[Finding]:
        """Sum the squared deviations of the training labels, largest first."""
        objective, label = case.config.objective, case.schema.label
        y = case.labels("train")
        if objective.implicit or len(y) < 1000 or len(np.unique(y[:: -(-len(y) // 100_000)])) < _DISTINCT:
            return
        squares = np.square(y - y.mean())
        top = max(1, int(_TOP * len(y)))
        owned = float(np.partition(squares, -top)[-top:].sum() / max(float(squares.sum()), 1e-300))
        if owned < _OWNED:
            return
        capped = case.config.evaluation.cap is not None
        tamed = objective.quadratic != "pairs" or TRANSFORMS.get(objective.label_transform).tames_outliers
        high = float(np.quantile(y, 1 - _TOP))
        evidence = (
            f"{_TOP:.0%} of the {len(y):,} training labels have {owned:.0%} of the squared deviations; the "
            f"99% quantile is {high:.4g}, the largest {y.max():.6g}"
        )
        where, what = f"label '{label}'", "a few extreme labels dominate the squared error, RMSE and R2"
        if capped and tamed:
            yield self.note(
                where, what, evidence, "nothing to do: the config caps it; look at the capped metrics"
            )
            return
        fixes = []
        if not tamed:
            fixes.append(f"train on a capped label (objective.transform = 'cap', objective.cap = {high:.2g})")
        if not capped:
            fixes.append(f"report capped metrics as well (evaluation.cap = {high:.2g})")
        yield self.warning(where, what, evidence, "; ".join(fixes))
