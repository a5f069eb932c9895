"""Pure NumPy and Numba rating metrics with bootstrap intervals over users.

`rating_report` measures one model and `paired_difference` two, from the columns user, label and prediction,
in the label's own units. Both rest on `user_statistics`, a handful of sums a user: take the users' groups and
these sums once, then ask for `intervals` of any model or slice of rows, and for `paired_differences` of any
number of models. The plain definitions (`mae`, `rmse`, `r2`, `xauc`, `xauc_by_user`) stand beside them, and
`RATING_METRICS` says which direction is better.
"""

from twotower.metrics.bootstrap import Interval, intervals, paired_differences, replicates, user_draws
from twotower.metrics.metric import Metric
from twotower.metrics.rating import mae, r2, rmse
from twotower.metrics.report import RATING_METRICS, paired_difference, rating_report
from twotower.metrics.statistics import UserStatistics, user_statistics
from twotower.metrics.users import UserGroups, group_users
from twotower.metrics.xauc import row_concordance, xauc, xauc_by_user, xauc_per_user

__all__ = [
    "RATING_METRICS",
    "Interval",
    "Metric",
    "UserGroups",
    "UserStatistics",
    "group_users",
    "intervals",
    "mae",
    "paired_difference",
    "paired_differences",
    "r2",
    "rating_report",
    "replicates",
    "rmse",
    "row_concordance",
    "user_draws",
    "user_statistics",
    "xauc",
    "xauc_by_user",
    "xauc_per_user",
]
