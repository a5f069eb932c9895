"""Off-policy evaluation: what a policy would have earned, from what another one has shown.

Rows are items shown, each with its reward and its propensity, the probability with which the logging policy
showed it. The weight of a row is ``w = probability of our policy / propensity``.

- IPS (Horvitz and Thompson 1952): mean of ``w r``; unbiased, and noisy where weights are large.
- SNIPS (Swaminathan and Joachims, NeurIPS 2015): ``sum w r / sum w``; slightly biased, much less noisy.
- DR, doubly robust (Dudík, Langford and Li, ICML 2011): mean of ``q(policy) + w (r - q(shown))`` with
  predicted rewards q; unbiased if the propensities or the predictions are right.

Each also with weights cut off at ``clip``, by default the square root of the number of rows (Ionides 2008,
truncated importance sampling): less noise for some bias, towards 0 (IPS), the other rows (SNIPS) or the
predictions (DR).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.errors import ConfigError, DataError
from twotower.metrics.interval import Interval
from twotower.metrics.ratios import Ratio, ratio_interval

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]

_FEW_EFFECTIVE = 100.0
_LARGE_SHARE = 0.05
_MOST = 1e60
"""Largest reward and weight: the squares of their products can be summed up in float64."""


@dataclass(frozen=True, eq=False)
class Logged:
    """What was shown, and what our policy would have done there.

    Attributes:
        user: code of each row's user (n,), from 0; intervals are over users.
        reward: (n,).
        propensity: probability with which the item was shown (n,), above 0 and up to 1.
        probability: of our policy showing this item to this user (n,), from 0 to 1.
        predicted: predicted reward of the item shown (n,); None without predictions, and then without DR.
        expected: predicted reward of our policy for this user (n,); None as above.

    Raises:
        DataError: a column is not of the same length, or has a value out of range; the message has its row.
    """

    user: Rows
    reward: F64
    propensity: F64
    probability: F64
    predicted: F64 | None = None
    expected: F64 | None = None

    def __post_init__(self) -> None:
        n = len(self.reward)
        if not n:
            raise DataError("off-policy evaluation needs at least one logged row, got none")
        if (self.predicted is None) != (self.expected is None):
            raise DataError("predicted and expected belong together; give both, or neither")
        for name in ("user", "reward", "propensity", "probability", "predicted", "expected"):
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise DataError(
                    f"{name} must have a value for each of the {n:,} rewards, got {len(column):,}"
                )
        check_rewards(self.reward)
        inside = (self.propensity > 0.0) & (self.propensity <= 1.0)
        _check("propensity", self.propensity, inside, "a probability above 0 and up to 1")
        inside = (self.probability >= 0.0) & (self.probability <= 1.0)
        _check("probability", self.probability, inside, "a probability from 0 to 1")
        fit = self.probability <= self.propensity * _MOST
        _check("propensity", self.propensity, fit, f"at least our policy's probability / {_MOST:g}")
        for name in ("predicted", "expected"):
            column = getattr(self, name)
            if column is not None:
                _check(name, column, np.isfinite(column), "a finite number")

    @property
    def weight(self) -> F64:
        """Of each row (n,)."""
        return self.probability / self.propensity


def check_rewards(reward: F64) -> None:
    """Raise a `DataError` for a reward that can't be summed up and squared."""
    with np.errstate(invalid="ignore"):
        _check("reward", reward, np.abs(reward) <= _MOST, f"a finite number, {_MOST:g} at most")


def _check(name: str, values: F64, good: NDArray[np.bool_], rule: str) -> None:
    if not good.all():
        at, wrong = int(np.argmin(good)), int((~good).sum())
        raise DataError(
            f"each {name} must be {rule}; {'1 row differs' if wrong == 1 else f'{wrong:,} rows differ'}, "
            f"first row {at + 1}: {values[at]:g}. Fix or drop these rows."
        )


@dataclass(frozen=True)
class Weights:
    """How much of the log says something about our policy.

    Attributes:
        effective: effective sample size, ``(sum w)^2 / sum w^2`` (Kish).
        largest: largest share of one row in the sum of all weights.
        mean: of the weights, with its interval; 1 if the propensities are right and everything that our
            policy shows could have been shown.
        positive: number of rows whose item our policy could show.
        clip: where weights are cut off in the clipped estimates.
        clipped: number of rows above it.
    """

    effective: float
    largest: float
    mean: Interval
    positive: int
    clip: float
    clipped: int


@dataclass(frozen=True)
class OffPolicyEvaluation:
    """What a policy would have earned per item shown.

    Attributes:
        rows: number of logged rows.
        users: number of users.
        logged: mean reward of what was shown.
        values: estimates by name: ``ips``, ``snips``, ``dr`` (with predictions), and each ``_clipped``.
        ours_minus_logged: each estimate minus ``logged``, paired: the interval says whether ours is better.
        weights: how much of the log counts.
        notes: warnings: what makes the estimates unreliable.
    """

    rows: int
    users: int
    logged: Interval
    values: Mapping[str, Interval]
    ours_minus_logged: Mapping[str, Interval]
    weights: Weights
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        weights = dict(self.weights.__dict__) | {"mean": self.weights.mean.as_dict()}
        return {
            "rows": self.rows,
            "users": self.users,
            "logged": self.logged.as_dict(),
            "values": {name: value.as_dict() for name, value in self.values.items()},
            "ours_minus_logged": {name: value.as_dict() for name, value in self.ours_minus_logged.items()},
            "weights": weights,
            "notes": list(self.notes),
        }


def evaluate_off_policy(
    logged: Logged,
    *,
    clip: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> OffPolicyEvaluation:
    """Estimate the mean reward of our policy, over the users of the log as often as they are in it.

    Args:
        logged: the rows.
        clip: where weights are cut off in the clipped estimates; None for the root of the number of rows.
        resamples: bootstrap resamples of the users, see `twotower.metrics.ratios`.
        seed: of the resampling.
        level: of the intervals.

    Raises:
        ConfigError: clip, level, resamples or seed is out of range.
    """
    n, weight = len(logged.reward), logged.weight
    most = math.sqrt(n) if clip is None else clip
    if not 0.0 < most < math.inf:
        raise ConfigError(f"clip must be a number above 0, got {clip}; leave it out for the root of the rows")
    _, user = np.unique(logged.user, return_inverse=True)
    n_users = int(user.max()) + 1

    def sums(column: F64) -> F64:
        return np.bincount(user, column, minlength=n_users).astype(np.float64)

    ones, reward = sums(np.ones(n)), sums(logged.reward)
    ratios: dict[str, Ratio] = {}
    for ending, w in (("", weight), ("_clipped", np.minimum(weight, most))):
        of_rewards = sums(w * logged.reward)
        ratios[f"ips{ending}"] = (of_rewards, ones)
        ratios[f"snips{ending}"] = (of_rewards, sums(w))
        if logged.predicted is not None and logged.expected is not None:
            rest = logged.expected + w * (logged.reward - logged.predicted)
            ratios[f"dr{ending}"] = (sums(rest), ones)
    given: dict[str, Any] = {"resamples": resamples, "seed": seed, "level": level}
    total = float(weight.sum())
    weights = Weights(
        effective=total**2 / float(weight @ weight) if total else 0.0,
        largest=float(weight.max()) / total if total else 0.0,
        mean=ratio_interval((sums(weight), ones), **given),
        positive=int((weight > 0.0).sum()),
        clip=float(most),
        clipped=int((weight > most).sum()),
    )
    return OffPolicyEvaluation(
        rows=n,
        users=n_users,
        logged=ratio_interval((reward, ones), **given),
        values={name: ratio_interval(of, **given) for name, of in ratios.items()},
        ours_minus_logged={name: ratio_interval(of, (reward, ones), **given) for name, of in ratios.items()},
        weights=weights,
        notes=tuple(_notes(weights, n)),
    )


def _notes(weights: Weights, n: int) -> list[str]:
    if not weights.positive:
        return ["our policy would have shown none of the logged items: the log says nothing about it"]
    notes = []
    if weights.effective < _FEW_EFFECTIVE:
        notes.append(
            f"the {n:,} rows say as much as {weights.effective:.0f} rows of our policy would (effective "
            "sample size); below 100, neither estimates nor intervals are reliable: collect a log of a "
            "policy nearer to ours, or evaluate a more random policy"
        )
    if weights.largest > _LARGE_SHARE:
        notes.append(
            f"weights are extreme: one row has {weights.largest:.0%} of the sum; read the clipped estimates"
        )
    if not weights.mean.low <= 1.0 <= weights.mean.high and math.isfinite(weights.mean.low):
        notes.append(
            f"the mean weight is {weights.mean} and should be 1: propensities are not those of the log, or "
            "our policy shows items that could not have been logged; IPS is then wrong"
        )
    return notes
