"""Ailments of the accuracy: beaten by something simple, predictions that are off or say nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from twotower.data.audit.finding import Finding
from twotower.experiment import OURS
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.wording import interval, metric_name, number

_STILL = 0.05
_SLOPES = (0.8, 1.25)
_BIAS = 0.1
"""A mean error of more than this share of the labels' spread is a bias worth telling."""


class Baselines(Probe):
    """A baseline that is better, or as good: then the model is not worth its upkeep."""

    name: ClassVar[str] = "baselines"
    looks_for: ClassVar[str] = "baselines that do better, or as well"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare with each baseline by the main metric, on the same resampled users."""
        best = case.best_baseline
        if case.compared is None or best is None:
            return
        comparison = case.compared.comparison
        gap = comparison.differences[best][case.main]
        sign = 1 if case.higher_is_better else -1
        lead = (sign * gap.low, sign * gap.high)  # of the baseline, above 0 where it is better
        values = (
            f"{metric_name(case.main)} {number(comparison.models[OURS].metrics[case.main].value)}, and "
            f"{number(comparison.models[best].metrics[case.main].value)} of {best}; the difference is "
            f"{interval(gap, sign=True)}"
        )
        if min(lead) > 0:
            yield self.warning(
                "test part",
                f"the baseline {best} beats the model",
                values,
                "use it, or tune the model: `twotower check` on the data first, then model.dim, "
                "objective.regularisation and features",
            )
        elif max(lead) >= 0:
            yield self.note(
                "test part",
                f"the model is not clearly better than the baseline {best}",
                values,
                "more test users narrow the interval; tuning may part them",
            )


class Predictions(Probe):
    """Predictions that are all alike, too bold or too timid, or off on average."""

    name: ClassVar[str] = "predictions"
    looks_for: ClassVar[str] = "predictions that are constant, too bold, too timid, or off on average"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look at the calibration on the test part."""
        of = case.calibration
        if of is None or not of.label_sd > 0:
            return
        if of.prediction_sd < _STILL * of.label_sd:
            yield self.warning(
                "test part",
                "the predictions are nearly all the same",
                f"their standard deviation is {number(of.prediction_sd)}, that of the labels "
                f"{number(of.label_sd)}",
                "lower objective.regularisation, train longer, and see whether features can know the label",
            )
            return
        if of.slope.high < _SLOPES[0] or of.slope.low > _SLOPES[1]:
            bold = of.slope.value < 1
            yield self.warning(
                "test part",
                f"predictions are too {'bold' if bold else 'timid'}",
                f"where the prediction rises by 1, the label rises by {interval(of.slope)}",
                ("raise" if bold else "lower") + " objective.regularisation, or scale predictions afterwards",
            )
        if abs(of.bias.value) > _BIAS * of.label_sd and (of.bias.low > 0 or of.bias.high < 0):
            yield self.warning(
                "test part",
                f"predictions are too {'low' if of.bias.value > 0 else 'high'} on average",
                f"labels minus predictions are {interval(of.bias, sign=True)} on average, beside a spread of "
                f"{number(of.label_sd)}",
                "see whether the test part is of another time or other users than train (`twotower check`)",
            )
