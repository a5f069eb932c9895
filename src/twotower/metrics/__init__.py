"""Pure NumPy and Numba metrics of ratings and of rankings, with bootstrap intervals over users.

`rating_report` evaluates one model and `paired_difference` compares two, from the columns user, label and
prediction, in the label's units. Both use `user_statistics`, a few sums per user: compute the users' groups
and these sums once, then `intervals` for any model or slice of rows, and `paired_differences` for any number
of models. The plain definitions are `mae`, `rmse`, `r2`, `xauc` and `xauc_by_user`; `RATING_METRICS` gives
their direction.

`ranking_values` gives the ranking metrics of each user's top-k list, and `list_means` the mean of an item
property over it; `mean_intervals` and `mean_differences` add confidence intervals to the means over users.
`coverage` and `gini` are computed from all lists together.
"""

from typing import Any

from twotower.metrics.bootstrap import intervals, paired_differences, replicates, user_draws
from twotower.metrics.exposure import (
    coverage,
    exposure_counts,
    gini,
    popularity_percentile,
    self_information,
)
from twotower.metrics.interval import Interval
from twotower.metrics.metric import (
    CatalogueMetric,
    ListMetric,
    Metric,
    RankingMetric,
    RatedRows,
    RatingMetric,
    Sums,
)
from twotower.metrics.ranking import (
    average_precision,
    hit_rate,
    ndcg,
    precision,
    ranking_values,
    recall,
    reciprocal_rank,
)
from twotower.metrics.rating import mae, r2, rmse
from twotower.metrics.registry import METRICS, higher_is_better, metric_of, registered
from twotower.metrics.report import paired_difference, rating_report
from twotower.metrics.statistics import UserStatistics, user_statistics
from twotower.metrics.top_lists import Catalogue, TopLists, list_means
from twotower.metrics.user_means import mean_differences, mean_intervals, user_means
from twotower.metrics.users import UserGroups, group_users
from twotower.metrics.verdict import verdict_on
from twotower.metrics.xauc import row_concordance, xauc, xauc_by_user, xauc_per_user

__all__ = [
    "METRICS",
    "RANKING_METRICS",
    "RATING_METRICS",
    "Catalogue",
    "CatalogueMetric",
    "Interval",
    "ListMetric",
    "Metric",
    "RankingMetric",
    "RatedRows",
    "RatingMetric",
    "Sums",
    "TopLists",
    "UserGroups",
    "UserStatistics",
    "average_precision",
    "coverage",
    "exposure_counts",
    "gini",
    "group_users",
    "higher_is_better",
    "hit_rate",
    "intervals",
    "list_means",
    "mae",
    "mean_differences",
    "mean_intervals",
    "metric_of",
    "ndcg",
    "paired_difference",
    "paired_differences",
    "popularity_percentile",
    "precision",
    "r2",
    "ranking_values",
    "rating_report",
    "recall",
    "reciprocal_rank",
    "registered",
    "replicates",
    "rmse",
    "row_concordance",
    "self_information",
    "user_draws",
    "user_means",
    "user_statistics",
    "verdict_on",
    "xauc",
    "xauc_by_user",
    "xauc_per_user",
]


def __getattr__(name: str) -> Any:
    """Rating metrics and ranking metrics with a direction, by name in results without ``@k``."""
    if name == "RATING_METRICS":
        every = registered(RatingMetric)
        return {key: one.as_named(key) for cap in (None, 0.0) for one in every for key in one.names((), cap)}
    if name == "RANKING_METRICS":
        return {metric.name: metric for metric in registered(RankingMetric) if metric.of_relevant}
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
