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

from twotower.metrics.bootstrap import intervals, paired_differences, replicates, user_draws
from twotower.metrics.direction import higher_is_better, verdict_on
from twotower.metrics.exposure import (
    coverage,
    exposure_counts,
    gini,
    list_means,
    popularity_percentile,
    self_information,
)
from twotower.metrics.interval import Interval
from twotower.metrics.metric import Metric
from twotower.metrics.ranking import (
    RANKING_METRICS,
    average_precision,
    hit_rate,
    ndcg,
    precision,
    ranking_values,
    recall,
    reciprocal_rank,
)
from twotower.metrics.rating import mae, r2, rmse
from twotower.metrics.report import RATING_METRICS, paired_difference, rating_report
from twotower.metrics.statistics import UserStatistics, user_statistics
from twotower.metrics.user_means import mean_differences, mean_intervals, user_means
from twotower.metrics.users import UserGroups, group_users
from twotower.metrics.xauc import row_concordance, xauc, xauc_by_user, xauc_per_user

__all__ = [
    "RANKING_METRICS",
    "RATING_METRICS",
    "Interval",
    "Metric",
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
