"""Which way a metric is better, and what a difference between two models says."""

from __future__ import annotations

import math
from collections.abc import Mapping

from twotower.metrics.ranking import RANKING_METRICS
from twotower.metrics.report import RATING_METRICS


def higher_is_better(metric: str, own: Mapping[str, bool | None] | None = None) -> bool | None:
    """Return a metric's direction; None if it has none.

    >>> higher_is_better("ndcg@10"), higher_is_better("rmse"), higher_is_better("gini@10")
    (True, False, None)

    Parameters
    ----------
    metric
        Its name, with its cut-off if it has one.
    own
        Directions of your own metrics.

    """
    if own and metric in own:
        return own[metric]
    name = metric.partition("@")[0]
    found = RATING_METRICS.get(name) or RANKING_METRICS.get(name)
    return None if found is None else found.higher_is_better


def verdict_on(value: float | None, low: float | None, high: float | None, *, higher_is_better: bool) -> str:
    """Return what a difference, ours minus theirs, says of ours.

    >>> verdict_on(-0.1, -0.2, -0.05, higher_is_better=False)
    'better'

    Parameters
    ----------
    value, low, high
        The difference with its interval; None or nan where it is not defined.
    higher_is_better
        The metric's direction.

    Returns
    -------
    ``"better"`` or ``"worse"`` if the interval excludes 0; ``"same"`` if it is 0 for everyone; else
    ``"unclear"``.

    """
    if value == low == high == 0.0:
        return "same"
    if low is None or high is None or math.isnan(low) or math.isnan(high) or low <= 0.0 <= high:
        return "unclear"
    return "better" if (low > 0.0) == higher_is_better else "worse"
