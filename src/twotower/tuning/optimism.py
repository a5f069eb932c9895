"""How much of the best trial's gain is luck: choosing and measuring on the same users flatters the chosen.

The bootstrap bias correction of Tsamardinos, Greasidou and Borboudakis (*Bootstrapping the out-of-sample
predictions for efficient and accurate cross-validation*, Machine Learning 107, 2018): users are drawn with
replacement, the best trial is chosen on those that were drawn, and its gain over the given config is measured
on those that were not. The mean over many draws is what choosing is worth to users it has not seen. It is
slightly too low, and its interval slightly too wide, since a draw holds 63% of the users.

What it can't see: the sampler proposed trials by looking at all the users, and every trial was trained once,
with one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower.metrics import Interval
from twotower.metrics.bootstrap import percentile_interval, user_draws
from twotower.tuning.scoring import FloatArray, Measure


@dataclass(frozen=True)
class Gain:
    """What the best trial gains over the given config on the validation part.

    Attributes:
        apparent: as it looks, best against given on the same users.
        optimism: what of it is luck.
        corrected: the rest, with its 95% interval.
        chosen_again: share of the draws on which the best trial is chosen again.
        users: how many users are behind it.
        resamples: how many draws.
    """

    apparent: float
    optimism: float
    corrected: Interval
    chosen_again: float
    users: int
    resamples: int

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
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
    """Estimate what of the best trial's gain would be left on other users.

    Args:
        totals: (n_trials, n_users) sums by user; the given config first.
        counts: (n_users,) what the sums are over.
        measure: the metric that they make.
        resamples: draws of users.
        seed: of the draws.
    """
    sign = 1.0 if measure.maximise else -1.0
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
