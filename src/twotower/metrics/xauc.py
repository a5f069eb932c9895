"""XAUC: the share of pairs of rows that predictions order correctly, computed exactly in O(n log n).

Two rows are *comparable* if their labels differ. A comparable pair counts 1 if the row of the higher label
has the higher prediction, 1/2 if the predictions are equal, 0 otherwise (Zhan et al., "Deconfounding Duration
Bias in Watch-time Prediction for Video Recommendation", KDD 2022). With a label of two values it is the ROC
AUC; with any label it is (Somers' D + 1) / 2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from twotower.metrics.checks import FloatArray, IntArray, float_column
from twotower.metrics.concordance import concordance, concordance_within_users
from twotower.metrics.metric import RatingMetric, Sums, ratio
from twotower.metrics.pair_order import order_pairs, rank_values
from twotower.metrics.users import group_users


class XAUC(RatingMetric):
    """The share of comparable pairs in the right order, `xauc`; linearised where users are resampled."""

    name = "xauc"
    title = "XAUC"
    meaning = "share of pairs of rows in the right order; 0.5 is chance"
    undefined = "constant labels: not defined; constant predictions: ½"
    higher_is_better = True
    shown = 4

    def value(self, sums: Sums) -> FloatArray:
        """Return the linearised share: see `twotower.metrics.statistics`."""
        whole = ratio(sums.over_all()["concordant"], sums.over_all()["comparable"])
        share = ratio(sums["concordant"], sums["comparable"])
        return np.clip(whole + 2.0 * (share - whole), 0.0, 1.0)


class XAUCByUser(RatingMetric):
    """The mean of each user's own XAUC, `xauc_by_user`."""

    name = "xauc_by_user"
    title = "XAUC by user"
    meaning = "the same among the rows of one user"
    undefined = "no user whose labels differ: not defined"
    higher_is_better = True
    counted = "own_counted"

    def value(self, sums: Sums) -> FloatArray:
        """Return the mean over the users who have one."""
        return ratio(sums["own_xauc"], sums["own_counted"])


def xauc(label: ArrayLike, prediction: ArrayLike) -> float:
    """Share of comparable pairs in the right order, ties of the prediction counting 1/2; higher is better.

    ``sum_{i,j: y_i > y_j} ([p_i > p_j] + [p_i = p_j] / 2) / #{i,j: y_i > y_j}``

    Args:
        label, prediction: (n,), finite. Any strictly increasing transformation of either changes nothing.

    Degenerate cases: no comparable pair (a constant label) gives nan; a constant prediction gives 1/2.
    Source: Zhan et al., KDD 2022. Note that over rows of many users and items it also rewards predicting
        global effects on the label, such as a video's duration; `xauc_by_user` uses only the order within
        each user.

    >>> xauc([1.0, 2.0, 3.0], [0.1, 0.1, 0.9])
    0.8333333333333334
    """
    concordant, comparable = row_concordance(label, prediction)
    return _share(float(concordant.sum()), float(comparable.sum()))


def row_concordance(label: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Count, for each row, the comparable rows and those among them in the right order.

    Every pair is counted for both of its rows, so XAUC is ``concordant.sum() / comparable.sum()``; the
    linearised bootstrap needs the counts per row (see `twotower.metrics.bootstrap`). Arguments as for `xauc`.

    Returns:
        concordant: (n,) float64, multiples of 1/2 and exact.
        comparable: (n,) int64.
    """
    y, p = _columns(label, prediction)
    order = order_pairs(rank_values(y), p)
    return concordance(order, y.size)


def xauc_per_user(user: ArrayLike, label: ArrayLike, prediction: ArrayLike) -> tuple[IntArray, FloatArray]:
    """XAUC within each user's own rows.

    Args:
        user: (n,) integers.
        label, prediction: (n,), finite.

    Returns:
        ids: (n_users,) distinct users, ascending.
        values: (n_users,) each user's XAUC, nan for a user without a comparable pair.
    """
    y, p = _columns(label, prediction)
    groups = group_users(user, y.size)
    order = order_pairs(rank_values(y), p)
    code = groups.code.astype(order.row.dtype)
    rows = np.bincount(code, minlength=groups.n_users)
    concordant, comparable = concordance_within_users(order.by_user(code, groups.n_users), rows)
    values = np.full(groups.n_users, np.nan)
    np.divide(concordant, comparable, out=values, where=comparable > 0)
    return groups.ids, values


def xauc_by_user(user: ArrayLike, label: ArrayLike, prediction: ArrayLike) -> float:
    """Unweighted mean of the users' own XAUC, over users with at least one comparable pair; higher is better.

    ``(1 / |A|) sum_{u in A} XAUC(rows of u)``, A = users whose labels are not all equal.

    Degenerate case: no such user gives nan. Source: the grouping of GAUC (Zhu et al., "Optimized Cost per
    Click in Taobao Display Advertising", KDD 2017), unweighted, over the pairs of XAUC (Zhan et al., KDD
    2022).
    """
    _, values = xauc_per_user(user, label, prediction)
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else math.nan


def _columns(label: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    y = float_column("label", label)
    return y, float_column("prediction", prediction, y.size)


def _share(concordant: float, comparable: float) -> float:
    return concordant / comparable if comparable else math.nan
