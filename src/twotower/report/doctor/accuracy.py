"""Problems of accuracy: a better baseline, biased or uninformative predictions."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.finding import Finding
from twotower.metrics import verdict_on
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.wording import interval, metric_name, number
from twotower.workflows import OURS

_STILL = 0.05
_SLOPES = (0.8, 1.25)
_BIAS = 0.1
"""A mean error of more than this share of the labels' spread is reported as a bias."""


class Baselines(Probe):
    """A baseline that is better, or as good: then the model is not worth its cost."""

    name = "baselines"
    looks_for = "baselines that do better, or as well"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare with the best baseline by the main metric, on the same resampled users."""
        best = case.best_baseline
        if case.compared is None or best is None:
            return
        comparison = case.compared.comparison
        gap = comparison.ours_minus[best][case.main]
        verdict = verdict_on(gap.value, gap.low, gap.high, higher_is_better=case.higher_is_better)
        values = (
            f"{metric_name(case.main)} is {number(comparison.models[OURS].metrics[case.main].value)}, "
            f"that of {best} "
            f"{number(comparison.models[best].metrics[case.main].value)}; the difference, ours minus "
            f"{best}, is "
            f"{interval(gap, sign=True)}"
        )
        if verdict == "worse":
            yield self.warning(
                "test set",
                f"the baseline {best} beats the model",
                values,
                "use the baseline, or improve the model: run `twotower check` on the data, then tune "
                "model.dim, objective.regularisation and the features",
            )
        elif verdict != "better":
            yield self.note(
                "test set",
                f"the model is not clearly better than the baseline {best}",
                values,
                "more test users make the interval narrower; tuning may make the model better",
            )


class Predictions(Probe):
    """Predictions that are nearly constant, spread too much or too little, or biased."""

    name = "predictions"
    looks_for = "predictions that are constant, spread too much or too little, or are biased"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look at the calibration on the test set."""
        of = case.calibration
        if of is None or not of.label_sd > 0:
            return
        if of.prediction_sd < _STILL * of.label_sd:
            yield self.warning(
                "test set",
                "the predictions are nearly all the same",
                f"their standard deviation is {number(of.prediction_sd)}, that of the labels "
                f"{number(of.label_sd)}",
                "lower objective.regularisation, train longer, and check whether the features can "
                "predict the label",
            )
            return
        if of.slope.high < _SLOPES[0] or of.slope.low > _SLOPES[1]:
            bold = of.slope.value < 1
            yield self.warning(
                "test set",
                f"predictions spread too {'much' if bold else 'little'}",
                f"where the prediction rises by 1, the label rises by {interval(of.slope)}",
                ("raise" if bold else "lower") + " objective.regularisation, or scale predictions afterwards",
            )
        if abs(of.bias.value) > _BIAS * of.label_sd and (of.bias.low > 0 or of.bias.high < 0):
            yield self.warning(
                "test set",
                f"predictions are too {'low' if of.bias.value > 0 else 'high'} on average",
                f"labels minus predictions are {interval(of.bias, sign=True)} on average; the labels "
                "have a standard deviation of "
                f"{number(of.label_sd)}",
                "check whether the test set is from another time or other users than the training set "
                "(`twotower check`)",
            )
