"""Per-user sufficient statistics: a few sums a user, from which the metrics of any draw of users follow.

A bootstrap over users, a slice of the rows and a comparison of models all start from these sums, so the
rows are read once.

With ``w_u`` the number of times user u is drawn, MAE, RMSE, R2 and the mean of the users' XAUC are exact
functions of ``sum_u w_u s_u``. The pooled XAUC is not: its pairs join rows of two users, so it is quadratic
in w, ``sum_uv w_u w_v C_uv / sum_uv w_u w_v M_uv``, with C and M the concordant and comparable pairs between
users. It is linearised by its Hajek projection: with ``c_u = sum_v C_uv`` and ``m_u = sum_v M_uv``,

    theta(w) ~ theta + 2 (sum_u w_u c_u / sum_u w_u m_u - theta),

exact at w = 1, where the factor 2 is there because each pair has two ends. What is left out is of the order
of one over the number of users, against one over its root for the interval itself. Sources: Hajek, Ann. Math.
Statist. 1968; Efron, *The Jackknife, the Bootstrap and Other Resampling Plans*, 1982, for the infinitesimal
jackknife, which is the same expansion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from twotower.metrics.checks import FloatArray, IntArray, finite_cap, float_column, mask_column
from twotower.metrics.users import UserGroups
from twotower.metrics.xauc import concordance_of_rows, concordance_of_users, order_pairs

# Below this share of the uncentred sum of squares, a difference of two such sums is rounding and no variance.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class UserStatistics:
    """Sums over each user's rows, for one model on one set of rows.

    Attributes
    ----------
    ids
        (n_users,) users, ascending: those of the whole table, also where a slice left a user no row, so that
        one draw of users serves all slices.
    sums
        name -> (n_users,) float64: ``rows``; ``absolute``, ``squared`` (of the error); ``label``,
        ``label_squared`` (about a fixed centre, so that their difference keeps its digits); the same four
        ending in ``_capped`` where there is a cap; ``concordant``, ``comparable`` (pairs of the user's rows
        with all rows); ``own_xauc`` (the user's own XAUC, 0 where there is none), ``own_counted`` (1 where
        there is one).
    cap
        What labels and predictions were clipped to from above for the capped metrics, or None.

    """

    ids: IntArray
    sums: Mapping[str, FloatArray]
    cap: float | None

    @property
    def n_users(self) -> int:
        """Number of users that a resample draws."""
        return int(self.ids.size)

    def values(self) -> dict[str, float]:
        """Every metric over all the rows, each user once."""
        return {name: float(of[0]) for name, of in self.metrics(np.ones((1, self.n_users))).items()}

    def metrics(self, weight: FloatArray) -> dict[str, FloatArray]:
        """Every metric with users counted ``weight`` (resamples, n_users) times: name -> (resamples,).

        nan where a metric is not defined: no rows, a constant label, no comparable pair.
        """
        columns = np.column_stack(list(self.sums.values()))  # (n_users, n_sums)
        drawn = dict(zip(self.sums, (weight @ columns).T, strict=True))  # name -> (resamples,)
        metrics = _errors(drawn, "")
        share = _ratio(drawn["concordant"], drawn["comparable"])
        whole = _ratio(self.sums["concordant"].sum(keepdims=True), self.sums["comparable"].sum(keepdims=True))
        metrics["xauc"] = np.clip(whole + 2.0 * (share - whole), 0.0, 1.0)
        metrics["xauc_by_user"] = _ratio(drawn["own_xauc"], drawn["own_counted"])
        if self.cap is not None:
            metrics |= _errors(drawn, "_capped")
        return metrics

    def users_behind(self, metric: str) -> int:
        """Users the metric rests on: those with a row, or, for ``xauc_by_user``, with a comparable pair."""
        return int(np.count_nonzero(self.sums["own_counted" if metric == "xauc_by_user" else "rows"]))


def user_statistics(
    groups: UserGroups,
    label: ArrayLike,
    prediction: ArrayLike,
    *,
    cap: float | None,
    where: ArrayLike | None = None,
) -> UserStatistics:
    """Sum up one model's rows by user.

    Parameters
    ----------
    groups
        The users of the rows, from `group_users`; found once for all models and slices of a table.
    label, prediction
        (n,), finite, in the label's units.
    cap
        Clip both from above here for the capped metrics; None for none.
    where
        (n,) boolean: measure these rows only, pairs among them included. At least one.

    """
    code = groups.code
    y = float_column("label", label, code.size)
    p = float_column("prediction", prediction, code.size)
    cap = finite_cap(cap)
    if where is not None:
        kept = mask_column("where", where, code.size)
        code, y, p = code[kept], y[kept], p[kept]
    sliced = UserGroups(groups.ids, code)

    sums = {"rows": np.bincount(code, minlength=groups.n_users).astype(np.float64)}
    sums |= _error_sums(sliced, y, p, "")
    order = order_pairs(y, p)
    concordant, comparable = concordance_of_rows(order)
    sums["concordant"] = _by_user(sliced, concordant)
    sums["comparable"] = _by_user(sliced, comparable)
    own_concordant, own_comparable = concordance_of_users(order, sliced)
    counted = own_comparable > 0
    sums["own_xauc"] = np.divide(own_concordant, own_comparable, out=np.zeros(groups.n_users), where=counted)
    sums["own_counted"] = counted.astype(np.float64)
    if cap is not None:
        sums |= _error_sums(sliced, np.minimum(y, cap), np.minimum(p, cap), "_capped")
    return UserStatistics(groups.ids, sums, cap)


def _error_sums(groups: UserGroups, y: FloatArray, p: FloatArray, suffix: str) -> dict[str, FloatArray]:
    error = y - p
    # A centre that is itself a label makes every deviation of a constant label exactly 0, and one next to the
    # mean keeps the sum of squares about as small as the variance.
    centred = y - y[np.argmin(np.abs(y - y.mean()))]
    return {
        f"absolute{suffix}": _by_user(groups, np.abs(error)),
        f"squared{suffix}": _by_user(groups, np.square(error)),
        f"label{suffix}": _by_user(groups, centred),
        f"label_squared{suffix}": _by_user(groups, np.square(centred)),
    }


def _by_user(groups: UserGroups, values: FloatArray | IntArray) -> FloatArray:
    return np.bincount(groups.code, weights=values, minlength=groups.n_users).astype(np.float64, copy=False)


def _errors(drawn: Mapping[str, FloatArray], suffix: str) -> dict[str, FloatArray]:
    rows, squared = drawn["rows"], drawn[f"squared{suffix}"]
    label, label_squared = drawn[f"label{suffix}"], drawn[f"label_squared{suffix}"]
    variation = label_squared - _ratio(np.square(label), rows)  # sum of (y - ybar)^2
    variation = np.where(variation > _ROUNDING * label_squared, variation, 0.0)
    return {
        f"mae{suffix}": _ratio(drawn[f"absolute{suffix}"], rows),
        f"rmse{suffix}": np.sqrt(_ratio(squared, rows)),
        f"r2{suffix}": 1.0 - _ratio(squared, variation),
    }


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Elementwise ratio, nan where the denominator is 0 (or nan)."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
