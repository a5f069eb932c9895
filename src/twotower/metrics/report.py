"""All rating metrics of predictions with intervals, for one model or as a difference of two."""

from __future__ import annotations

from numpy.typing import ArrayLike

from twotower.metrics.bootstrap import intervals, paired_differences
from twotower.metrics.interval import Interval
from twotower.metrics.statistics import user_statistics
from twotower.metrics.users import group_users


def rating_report(
    user: ArrayLike,
    label: ArrayLike,
    prediction: ArrayLike,
    *,
    cap: float | None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Evaluate one model's predictions, with percentile intervals over users.

    Args:
        user: (n,) integer user ids or indices.
        label, prediction: (n,), float32 or float64, finite, in the label's units; sums are taken in float64.
        cap: adds ``mae_capped``, ``rmse_capped``, ``r2_capped``, of label and prediction clipped to this
            maximum; None leaves them out. A few extreme labels can dominate the uncapped squared error.
        resamples, seed, level: number of resamples of users, the random seed, and the confidence level of the
            interval.

    Returns:
        ``mae, rmse, r2, xauc, xauc_by_user`` and the capped ones, each an `Interval`. With a single user the
        bounds are nan; a metric that is not defined (`r2` of a constant label) is nan throughout.
    """
    statistics = user_statistics(group_users(user), label, prediction, cap=cap)
    return intervals(statistics, resamples=resamples, seed=seed, level=level)


def paired_difference(
    user: ArrayLike,
    label: ArrayLike,
    prediction_a: ArrayLike,
    prediction_b: ArrayLike,
    *,
    cap: float | None,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Return a minus b for every metric of `rating_report`, with both models on the same resampled users.

    The interval of the difference is much narrower than those of the models, since a hard user is hard for
    both. Arguments as for `rating_report`. For several models, `paired_differences` shares the statistics.
    """
    groups = group_users(user)
    models = {
        "a": user_statistics(groups, label, prediction_a, cap=cap),
        "b": user_statistics(groups, label, prediction_b, cap=cap),
    }
    return paired_differences(models, "b", resamples=resamples, seed=seed, level=level)["a"]
