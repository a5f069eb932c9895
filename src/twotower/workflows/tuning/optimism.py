"""Selection bias: a best trial chosen and measured on the same users looks better than it is.

The bootstrap bias correction of Tsamardinos, Greasidou and Borboudakis (*Bootstrapping the out-of-sample
predictions for efficient and accurate cross-validation*, Machine Learning 107, 2018): users are drawn with
replacement, the best trial is chosen on the drawn users, and its gain over the original config is measured on
the others. The mean over many draws estimates the gain on unseen users. It is slightly too low and its
interval slightly too wide, since a draw contains 63% of the users.

Not covered: the sampler used all users to propose trials, and each trial was trained once, with one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower.evaluation.validator import FloatArray, Measure
from twotower.metrics import Interval
from twotower.metrics.bootstrap import percentile_interval, user_draws


@dataclass(frozen=True)
class Gain:
    """The gain of the best trial over the original config on the validation set.

    Attributes:
        apparent: the uncorrected gain, best minus original on the same users.
        optimism: the selection bias in it.
        corrected: the gain less the bias, with its 95% interval.
        chosen_again: share of draws in which the same trial is chosen.
        users: number of users it is based on.
        resamples: number of draws.
    """

    apparent: float
    optimism: float
    corrected: Interval
    chosen_again: float
    users: int
    resamples: int

    def as_dict(self) -> dict[str, Any]:
        """Return a dict for JSON."""
        return {
            "apparent": self.apparent,
            "optimism": self.optimism,
            "corrected": self.corrected.as_dict(),
            "chosen_again": self.chosen_again,
            "users": self.users,
            "resamples": self.resamples,
        }


def corrected_gain(
    totals: FloatArray, counts: FloatArray, measure: Measure, *, resamples: int = 1000, seed: int = 0
) -> Gain:
    """Estimate the best trial's gain on unseen users.

    Args:
        totals: (n_trials, n_users) sums per user; the original config first.
        counts: (n_users,) number of values in each sum.
        measure: the metric computed from them.
        resamples: number of bootstrap draws of users.
        seed: random seed of the draws.
    """
    sign = measure.sign
    whole = sign * measure.of(totals.sum(axis=1), counts.sum())  # (n_trials,) higher is better
    best = int(np.argmax(whole))
    apparent = float(whole[best] - whole[0])
    gains, again = [], 0
    for draws in user_draws(len(counts), resamples, seed):  # (draws, n_users)
        left = (draws == 0).astype(np.float64)
        drawn = sign * measure.of(draws @ totals.T, (draws @ counts)[:, None])  # (draws, n_trials)
        chosen = np.argmax(drawn, axis=1)
        others = sign * measure.of(left @ totals.T, (left @ counts)[:, None])
        gains.append(others[np.arange(len(chosen)), chosen] - others[:, 0])
        again += int(np.sum(chosen == best))
    drawn_gains = np.concatenate(gains)
    value = float(np.nanmean(drawn_gains)) if np.isfinite(drawn_gains).any() else 0.0
    users = int(np.count_nonzero(counts))
    corrected = percentile_interval(value, drawn_gains, users, 0.95)
    return Gain(apparent, apparent - value, corrected, again / resamples, users, resamples)
