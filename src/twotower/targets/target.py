"""`Target`: from labels to training targets, and from scores back to the label's units."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from twotower.config import ObjectiveConfig
from twotower.core.saved import flag, number, optional
from twotower.data.dataset import Dataset
from twotower.data.durations import durations
from twotower.targets.labels import F64, Identity, LabelTransform
from twotower.targets.positive import PositiveRule
from twotower.targets.registry import TRANSFORMS


@dataclass(frozen=True)
class Target:
    """A label transform, standardised on the training set so that one learning rate suits every label.

    ``score = mean + sd * s``, where s is the towers' output during training. Mean and sd are folded into the
    final vectors, so their dot product is a transformed label (a logit for the logistic objective).

    Attributes:
        transform: the fitted label transform.
        mean: mean of the transformed training labels (0 for logistic).
        sd: their standard deviation (1 for logistic).
        low: minimum of the transformed training labels; predictions are clipped to it.
        high: maximum of them; predictions are clipped to it.
        logistic: whether scores are logits.
        base: the constant score that fits the training set best, in standardised units: 0, or the logit of
            the mean label.
    """

    transform: LabelTransform
    mean: float
    sd: float
    low: float
    high: float
    logistic: bool
    base: float

    @classmethod
    def fit(
        cls, label: F64, duration: F64 | None, *, transform: str, cap: float | None, logistic: bool
    ) -> Target:
        """Fit on training labels float64 (n,) and, if the transform uses them, durations (n,)."""
        fitted = TRANSFORMS.get(transform).fit(label, duration, cap=cap)
        return cls._of(fitted, [fitted.forward(label, duration)], logistic=logistic)

    @classmethod
    def fit_on(cls, train: Dataset, *, transform: str, cap: float | None, logistic: bool) -> Target:
        """Fit on a training set, block by block, if the transform has nothing to fit or all labels fit in
        memory."""
        kind = TRANSFORMS.get(transform)
        if kind.fits:
            fitted = kind.fit(train.labels(), durations(train), cap=cap)
        else:
            fitted = kind.fit(np.empty(0), cap=cap)
        parts = (fitted.forward(block.labels(), durations(block)) for block in train.blocks())
        return cls._of(fitted, parts, logistic=logistic)

    @classmethod
    def _of(cls, fitted: LabelTransform, parts: Iterable[F64], *, logistic: bool) -> Target:
        """Return the target of a fitted transform and the transformed labels, part by part."""
        n, mean, variance, low, high = 0, 0.0, 0.0, math.inf, -math.inf
        for values in parts:
            here, share = float(values.mean()), n / (n + len(values))
            apart = share * (1.0 - share) * (here - mean) ** 2  # Chan, Golub, LeVeque 1979
            variance = share * variance + (1.0 - share) * float(values.var()) + apart
            mean, n = share * mean + (1.0 - share) * here, n + len(values)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        if logistic:
            share = float(np.clip(mean, 1e-6, 1.0 - 1e-6))
            return cls(fitted, 0.0, 1.0, low, high, True, float(np.log(share / (1.0 - share))))
        sd = math.sqrt(variance)
        return cls(fitted, mean, sd if sd > 1e-12 else 1.0, low, high, False, 0.0)

    @classmethod
    def of_positives(cls) -> Target:
        """Return the target of objectives that do not predict a label: scores are the towers' outputs.

        `label_targets` gives the values that their scores are fitted to.
        """
        return cls(Identity(), 0.0, 1.0, -math.inf, math.inf, False, 0.0)

    def forward(self, label: F64, duration: F64 | None) -> NDArray[np.float32]:
        """Return the training targets, float32 (n,)."""
        return ((self.transform.forward(label, duration) - self.mean) / self.sd).astype(np.float32)

    def durations(self, data: Dataset) -> F64 | None:
        """Return the duration (n,) of each interaction's item; None if the transform needs none."""
        return durations(data) if self.transform.needs_duration else None

    def learned(self, label: F64, duration: F64 | None) -> F64:
        """Return labels (n,) under the transform and back: those of a capped model are capped."""
        return self.transform.inverse(self.transform.forward(label, duration), duration)

    def as_scores(self, values: F64) -> F64:
        """Return the scores that correspond to outputs of `forward`; NaN stays NaN.

        For the logistic objective these are logits; labels are clipped away from 0 and 1, whose logits are
        infinite.
        """
        return logit(np.clip(values, 0.05, 0.95)) if self.logistic else values

    def inverse(self, score: NDArray[np.float32], duration: F64 | None) -> F64:
        """Return predictions in the label's units, float64 (n,), from scores of the final vectors."""
        values = score.astype(np.float64)
        if self.logistic:
            values = expit(values)
        return self.transform.inverse(np.clip(values, self.low, self.high), duration)

    def state(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "transform": {"name": TRANSFORMS.name_of(type(self.transform)), "state": self.transform.state()},
            **{key: getattr(self, key) for key in ("mean", "sd", "logistic", "base")},
            # JSON can't represent infinity
            "low": self.low if math.isfinite(self.low) else None,
            "high": self.high if math.isfinite(self.high) else None,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Target:
        """Rebuild from the JSON form."""
        transform = TRANSFORMS.get(state["transform"]["name"]).from_state(state["transform"]["state"])
        low, high = optional(state, "low"), optional(state, "high")
        made = cls(
            transform,
            number(state, "mean"),
            number(state, "sd", above=0.0),
            -math.inf if low is None else low,
            math.inf if high is None else high,
            flag(state, "logistic"),
            number(state, "base"),
        )
        ends = np.array([value for value in (low, high) if value is not None], dtype=np.float32)
        with np.errstate(over="ignore"):
            if made.low > made.high or not np.isfinite(made.inverse(ends, np.full(len(ends), np.nan))).all():
                raise ValueError(f"predictions between {low} and {high} are not finite labels")
        return made


def label_targets(
    target: Target,
    rule: PositiveRule,
    objective: ObjectiveConfig,
    label: F64 | None,
    duration: F64 | None,
    n: int,
) -> F64:
    """Return the values that an objective fits the scores of interactions to, float64 (n,).

    Args:
        target: for objectives that predict a label.
        rule: which labels are positives, and their order, for objectives that rank.
        objective: which one it is. One that grades labels has them by their rank, from its ``grade_floor``
            to 1; others that rank fit positives to 1 and ignore other interactions: NaN.
        label: (n,), or None where there are none: every interaction is a positive.
        duration: (n,) durations of the items, or None.
        n: number of interactions.
    """
    if label is None:
        return np.ones(n)
    if not objective.implicit:
        return target.forward(label, duration).astype(np.float64)
    if objective.grade_floor is None:
        return np.where(rule.are_positive(label, duration), 1.0, np.nan)
    return rule.graded(label, duration, objective.grade_floor)


def history_grades(
    rule: PositiveRule, objective: ObjectiveConfig, label: F64 | None, duration: F64 | None, n: int
) -> F64:
    """Return what interactions count in a history, float64 (n,): 1 the most, 0 nothing.

    Args:
        rule: which labels are positives, and their order.
        objective: one that grades labels has their grades; others that rank have 1 for positives and 0 for
            the rest; those that predict a label have its rank among the training labels.
        label: (n,), nan for what is only known to be liked, which counts 1; None where there are none.
        duration: (n,) durations of the items, or None.
        n: number of interactions.
    """
    if label is None:
        return np.ones(n)
    if objective.implicit and objective.grade_floor is None:
        grades = rule.are_positive(label, duration).astype(np.float64)
    else:
        grades = rule.graded(label, duration, objective.grade_floor or 0.0)
    return np.where(np.isnan(label), 1.0, grades)
