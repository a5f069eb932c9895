"""Problems of training: ended too soon, overfitted, chosen on a validation set unlike the test set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from twotower.audit.finding import Finding
from twotower.evaluation.own_metrics import MetricSet
from twotower.evaluation.validator import NDCG, RMSE, K
from twotower.metrics import Interval, mean_intervals
from twotower.metrics.bootstrap import percentile_interval, user_draws
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.history import by_kind, chosen_by, epochs_of
from twotower.report.wording import interval, metric_name, number
from twotower.workflows.measuring import ranking_task

_STILL_RISING = 0.002
_WORSE = 0.05
_OVERFIT = 2.0
_GAP = {True: 0.25, False: 0.15}
"""By how much the test set may be worse than the validation set: for rankings, which also depend on the
number of positives, and for predictions."""
_SAMPLE = 200_000


class Learning(Probe):
    """Training that was still improving at its end, or that was best after the first epoch."""

    name = "learning"
    looks_for = "training that ended too soon, or overfitted from the first epoch"

    def run(self, case: Case) -> Iterator[Finding]:
        """Read the validation metric of the epochs; of several kinds of towers nothing is said."""
        kinds = by_kind(case.history)
        epochs, metric = epochs_of(case.history, "train"), chosen_by(case.history)
        if metric is None or len(epochs) < 2 or list(kinds) != [""]:
            return
        values = [record[metric] for record in epochs]
        sign = 1 if case.ranks else -1
        best = max(range(len(values)), key=lambda at: sign * values[at])
        name = metric_name(metric)
        gained = sign * (values[-1] - values[-2]) / max(abs(values[-2]), 1e-12)
        if (
            len(epochs) >= case.config.training.most_epochs
            and best == len(epochs) - 1
            and gained > _STILL_RISING
        ):
            yield self.warning(
                "training",
                "training ended while the model was still improving (underfitting)",
                f"{name} went from {number(values[-2])} to {number(values[-1])} in the last of "
                f"{len(epochs)} epochs",
                f"raise training.epochs above {case.config.training.most_epochs}; early stopping ends "
                "training in time",
            )
        lost = sign * (values[best] - values[-1]) / max(abs(values[best]), 1e-12)
        if best == 0 and lost > _WORSE:
            yield self.warning(
                "training",
                "the model only got worse after the first epoch (overfitting)",
                f"{name} was {number(values[0])} after epoch 1 and {number(values[-1])} after epoch "
                f"{len(epochs)}",
                "raise objective.regularisation, or lower model.dim"
                if case.solved
                else "lower training.learning_rate; raise "
                + " or ".join(dict.fromkeys([case.held_back_by, "model.dropout"])),
            )


class Generalisation(Probe):
    """Errors that are far smaller on the training set."""

    name = "overfitting"
    looks_for = "errors that are far smaller on the training set than on the test set"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the errors on the training set and on the test set."""
        label = case.parts.train.schema.label
        if case.ranks or label is None or case.data.changed:
            return
        train = case.parts.train
        step = -(-len(train) // _SAMPLE)
        rows = train.with_interactions(train.interactions.gather_every(step))
        known = rows.interactions.get_column(label).cast(pl.Float64).to_numpy()
        cap = case.config.evaluation.cap or np.inf
        error = np.minimum(known, cap) - np.minimum(case.recommender.predict(rows), cap)
        on_train = float(np.sqrt(np.mean(error**2)))
        on_test = float(np.sqrt(np.mean((case.label - case.prediction) ** 2)))
        if on_test > _OVERFIT * on_train:
            yield self.warning(
                "training and test set",
                "the model fits the training set far better than the test set (overfitting)",
                f"RMSE is {number(on_train)} on the training set and {number(on_test)} on the test set",
                "raise objective.regularisation, model.dropout or model.id_dropout, or lower model.dim",
            )


class ValidationGap(Probe):
    """A test set on which the model is much worse than on the validation set."""

    name = "validation-gap"
    looks_for = "a test set on which the model is much worse than on the validation set"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the chosen epoch's metric with the same metric on the test set."""
        validation = case.recorded.get("validation", {})
        name = (NDCG if case.ranks else RMSE).name
        then: float | None = validation.get(name)
        if then is None or not then > 0 or case.data.changed:
            return
        now = _ranked(case) if case.ranks else _predicted(case)
        if now is None:
            return
        gap = (then - now.value) / then if case.ranks else (now.value - then) / then
        beyond = now.high < then if case.ranks else now.low > then
        if gap > _GAP[case.ranks] and beyond:
            yield self.warning(
                "validation and test set",
                "the model is much worse on the test set than on the validation set",
                f"{metric_name(name)} was {number(then)} on the validation set and is {interval(now)} on "
                "the test set",
                "check whether both are split in the same way ([split]), and whether validation rows "
                "are copies of "
                "training rows (`twotower check`)",
            )


def _ranked(case: Case) -> Interval | None:
    if case.task is None:
        return None
    if NDCG.name in case.measured.metrics:
        return case.measured.metrics[NDCG.name]
    task = ranking_task(case.config, case.recommender, case.parts.test, (K,))
    values = {NDCG.name: task.values(case.recommender, metrics=MetricSet.headline()).users[NDCG.name]}
    return mean_intervals(values, resamples=case.config.evaluation.resamples, seed=case.config.seed)[
        NDCG.name
    ]


def _predicted(case: Case) -> Interval:
    """Return the RMSE of capped labels, as it is measured on the validation set."""
    cap = case.config.objective.label_cap or np.inf
    test = case.parts.test
    label = test.interactions.get_column(str(test.schema.label)).cast(pl.Float64).to_numpy()
    error = np.square(np.minimum(label, cap) - np.minimum(case.recommender.predict(test), cap))
    user = test.interactions.get_column(test.schema.user).rank("dense").cast(pl.Int64).to_numpy() - 1
    sums, rows = np.bincount(user, weights=error), np.bincount(user)
    settings = case.config.evaluation
    drawn = np.concatenate(
        [np.sqrt(d @ sums / (d @ rows)) for d in user_draws(len(rows), settings.resamples, case.config.seed)]
    )
    return percentile_interval(float(np.sqrt(error.mean())), drawn, len(rows), 0.95)
