"""Labels on different scales in different files: a model of one can't be measured on the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twotower.audit.case import SAMPLE, Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.audit.statistics import Floats

_FACTOR = 2.5
"""How many times wider the middle half of the labels may be in one set than in the other."""
_OUTSIDE = 0.1
"""Share of labels outside the usual range of the training set that can't be chance."""
_LEAST = 200


class Scale(Check):
    """Labels scaled separately in each file: errors and R2 then measure something else."""

    name = "scale"
    looks_for = "labels of training and test set in different units, or standardised"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the labels of the files."""
        if case.schema.label is None:
            return
        files = {name: data.interactions[case.schema.label].to_numpy() for name, data in case.files.items()}
        standard = [name for name, y in files.items() if _standardised(y)]
        fix = (
            "use the original units of the label in every file; objective.transform = 'standardise' "
            "scales them"
        )
        for name in standard:
            y = files[name]
            where = f"{case.path(name)}, column '{case.schema.label}'"
            evidence = f"its mean is {y.mean():+.1e} and its standard deviation {y.std():.6f}"
            if len(standard) > 1 and name != "train":
                what = "the labels were standardised separately in this file"
                yield self.error(where, what, f"{evidence}, exactly like those of the training set", fix)
            elif name in ("train", "interactions"):
                what = "the labels are standardised, so every metric is in standard deviations"
                yield self.warning(where, what, evidence, fix)
        for name, y in files.items():
            if name in ("validation", "test") and (len(standard) < 2 or name not in standard):
                yield from self._against(case, name, files["train"], y, fix)

    def _against(self, case: Case, name: str, train: Floats, y: Floats, fix: str) -> Iterator[Finding]:
        if min(len(train), len(y)) < _LEAST:
            return
        y, train = y[:: -(-len(y) // SAMPLE)], train[:: -(-len(train) // SAMPLE)]
        here, there = _spread(y), _spread(train)
        low, high = np.quantile(train, (0.005, 0.995))
        slack = 0.05 * (high - low)
        outside = float(((y < low - slack) | (y > high + slack)).mean())
        ratio = (
            max(here, there) / min(here, there)
            if min(here, there) > 0
            else (1.0 if here == there else np.inf)
        )
        if ratio > _FACTOR or outside > _OUTSIDE:
            yield self.error(
                f"{case.path(name)}, column '{case.schema.label}'",
                "the labels are on another scale than those of the training set",
                f"quartiles {_quartiles(y)}, in the training set {_quartiles(train)}; {outside:.1%} of "
                "them are outside the middle 99% of the training labels",
                fix,
            )


def _standardised(y: Floats) -> bool:
    """Return whether (n,) labels have mean 0 and standard deviation 1 as exactly as a scaler makes them."""
    if len(y) < _LEAST:
        return False
    exact = min(abs(float(y.std()) - 1), abs(float(y.std(ddof=1)) - 1))
    return abs(float(y.mean())) < 1e-4 and exact < 1e-4


def _spread(y: Floats) -> float:
    low, high = np.quantile(y, (0.25, 0.75))
    return float(high - low)


def _quartiles(y: Floats) -> str:
    return " / ".join(f"{q:.3g}" for q in np.quantile(y, (0.25, 0.5, 0.75)))
