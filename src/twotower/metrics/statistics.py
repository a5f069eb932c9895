"""Per-user sufficient statistics: a few sums per user, from which the metrics of any resample follow.

A bootstrap over users, a slice of the rows and a comparison of models all start from these sums, so the
rows are sorted once.

With ``w_u`` the number of times user u is drawn, MAE, RMSE, R2 and the mean of the users' XAUC are exact
functions of ``sum_u w_u s_u``. The pooled XAUC is not: its pairs join rows of two users, so it is quadratic
in w, ``sum_uv w_u w_v C_uv / sum_uv w_u w_v M_uv``, with C and M the concordant and comparable pairs between
users. It is linearised by its Hajek projection: with ``c_u = sum_v C_uv`` and ``m_u = sum_v M_uv``,

    theta(w) ~ theta + 2 (sum_u w_u c_u / sum_u w_u m_u - theta),

exact at w = 1; the factor 2 is there because each pair has two ends. The error is of the order of one over
the number of users, against one over its square root for the interval itself. Sources: Hajek, Ann. Math.
Statist. 1968; Efron, *The Jackknife, the Bootstrap and Other Resampling Plans*, 1982, for the infinitesimal
jackknife, which is the same expansion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import numba
import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from twotower.metrics.checks import (
    BoolArray,
    FloatArray,
    IntArray,
    checked_values,
    finite_cap,
    float_column,
    mask_column,
)
from twotower.metrics.concordance import concordance, concordance_within_users
from twotower.metrics.metric import RatedRows, RatingMetric, Sums
from twotower.metrics.pair_order import Flags, PairOrder, Ranking, order_pairs, rank_values
from twotower.metrics.registry import registered
from twotower.metrics.users import UserGroups

# Slices summed at once: each needs about 60 bytes per row, and the largest determines the time.
_MOST_THREADS = 4


def _registered() -> tuple[RatingMetric, ...]:
    return tuple(registered(RatingMetric))


@dataclass(frozen=True)
class UserStatistics:
    """Sums over each user's rows, for one model on one set of rows.

    Attributes:
        ids: (n_users,) users, ascending: those of the whole table, even if a slice has no row of a user, so
            that all slices share the draws.
        sums: name -> (n_users,) float64: ``rows``; ``absolute``, ``squared_error``; ``label``,
            ``label_squared`` (about a fixed centre, so that their difference keeps its digits); the same four
            ending in ``_capped`` where there is a cap; ``concordant``, ``comparable`` (pairs of the user's
            rows with all rows); ``own_xauc`` (the user's own XAUC, 0 where there is none), ``own_counted`` (1
            where there is one); and ``"metric.sum"`` for those that a metric adds.
        cap: maximum that labels and predictions were clipped to for the capped metrics, or None.
        measured: what is computed from the sums: the registered metrics by default.
    """

    ids: IntArray
    sums: Mapping[str, FloatArray]
    cap: float | None
    measured: tuple[RatingMetric, ...] = field(default_factory=_registered)

    @property
    def n_users(self) -> int:
        """Number of users in a resample."""
        return int(self.ids.size)

    def values(self) -> dict[str, float]:
        """Every metric over all the rows, each user once."""
        return {name: float(of[0]) for name, of in self.metrics(np.ones((1, self.n_users))).items()}

    def metrics(self, weight: FloatArray) -> dict[str, FloatArray]:
        """Every metric with users weighted by ``weight`` (resamples, n_users): name -> (resamples,).

        nan where a metric is undefined: no rows, a constant label, no comparable pair.
        """
        drawn: dict[str, FloatArray] = {}  # name -> (resamples,)
        for added in (False, True):  # apart, so that the others' last bits don't depend on them
            names = [name for name in self.sums if ("." in name) == added]
            if names:
                columns = np.column_stack([self.sums[name] for name in names])  # (n_users, n_sums)
                drawn |= zip(names, (weight @ columns).T, strict=True)
        found = {}
        for end in ("", "_capped"):
            for one in self.measured:
                if not end or (self.cap is not None and one.cappable):
                    sums = Sums(drawn, self._whole, one.name, end)
                    found[f"{one.name}{end}"] = one.measured(sums, len(weight))
        return found

    @cached_property
    def _whole(self) -> dict[str, FloatArray]:
        return {name: of.sum(keepdims=True) for name, of in self.sums.items()}

    @classmethod
    def averaged(cls, models: Sequence[UserStatistics]) -> UserStatistics:
        """Return the mean of several models' sums, all over the same rows with the same cap.

        Every metric is then the mean of the models' metrics, except RMSE, which is their root mean square.
        """
        first = models[0]
        sums = {}
        for name, of in first.sums.items():
            each = [model.sums[name] for model in models]
            # sums of the rows alone stay bitwise equal: they show that models saw the same rows
            same = all(np.array_equal(of, other) for other in each)
            sums[name] = of if same else np.mean(each, axis=0)
        return cls(first.ids, sums, first.cap, first.measured)

    def users_behind(self, metric: str) -> int:
        """Number of users of a metric: those with a row, or, for ``xauc_by_user``, a comparable pair."""
        of = next(one for one in self.measured if metric in one.names((), self.cap))
        return int(np.count_nonzero(Sums(self.sums, self.sums, of.name)[of.counted]))


@dataclass(frozen=True)
class Measured:
    """One model's rows, validated and sorted once, from which the statistics of any slice follow.

    Attributes:
        groups: the users of the rows.
        label, prediction: (n,), finite.
        cap: as in `user_statistics`.
        order, user_order: the rows in the order that counts pairs among all rows, and pairs within each user.
        measured: the metrics.
    """

    groups: UserGroups
    label: FloatArray
    prediction: FloatArray
    cap: float | None
    order: PairOrder
    user_order: PairOrder
    measured: tuple[RatingMetric, ...]

    @classmethod
    def of(
        cls,
        groups: UserGroups,
        label: ArrayLike,
        prediction: ArrayLike,
        *,
        cap: float | None,
        ranking: Ranking | None = None,
        measured: Sequence[RatingMetric] | None = None,
    ) -> Measured:
        """Validate and sort one model's rows; arguments as for `user_statistics`.

        ``ranking``, if given, is `rank_values` of the label, computed once for all models of a table;
        ``measured`` are the metrics, all registered ones by default.
        """
        y = float_column("label", label, groups.code.size)
        p = float_column("prediction", prediction, groups.code.size)
        order = order_pairs(rank_values(y) if ranking is None else ranking, p)
        code = groups.code.astype(order.row.dtype)
        by_user, metrics = (
            order.by_user(code, groups.n_users),
            _registered() if measured is None else measured,
        )
        return cls(groups, y, p, finite_cap(cap), order, by_user, tuple(metrics))

    def statistics(self, masks: Sequence[ArrayLike] = ()) -> list[UserStatistics]:
        """Sum by user: all rows, then those of each mask (n,), which selects at least one."""
        n = self.label.size
        kept = [mask_column("where", mask, n) for mask in masks]
        users = self.order.summed_by(self.groups.code.astype(self.order.row.dtype))
        # NumPy and Numba release the GIL, so threads help.
        with ThreadPoolExecutor(min(_MOST_THREADS, numba.get_num_threads())) as pool:
            jobs = [pool.submit(self._sums, users, self.user_order, np.ones(n, dtype=np.uint8), 0)]
            for start in range(0, len(kept), 8):
                some = kept[start : start + 8]
                flags = np.zeros(n, dtype=np.uint8)  # so that each order looks its rows up once, not 8 times
                for bit, mask in enumerate(some):
                    flags |= mask.view(np.uint8) << bit
                here, there = flags[self.order.row], flags[self.user_order.row]
                jobs += [
                    pool.submit(self._sliced, users, here, there, flags, bit) for bit in range(len(some))
                ]
            return [job.result() for job in jobs]

    def _sliced(self, users: PairOrder, here: Flags, there: Flags, flags: Flags, bit: int) -> UserStatistics:
        return self._sums(users.within(here, bit), self.user_order.within(there, bit), flags, bit)

    def _sums(self, users: PairOrder, user_order: PairOrder, flags: Flags, bit: int) -> UserStatistics:
        """Sum the rows whose bit of ``flags`` (n,) is set; the orders contain the same rows."""
        groups = self.groups
        errors = _user_sums(groups.code, self.label, self.prediction, flags, bit, np.inf, groups.n_users)
        sums = dict(zip(_SUMS, errors.T.copy(), strict=True))
        sums["concordant"], comparable = concordance(users, groups.n_users)
        sums["comparable"] = comparable.astype(np.float64)
        own_concordant, own_comparable = concordance_within_users(user_order, sums["rows"].astype(np.int64))
        counted = own_comparable > 0
        sums["own_xauc"] = np.divide(
            own_concordant, own_comparable, out=np.zeros(groups.n_users), where=counted
        )
        sums["own_counted"] = counted.astype(np.float64)
        if self.cap is not None:
            capped = _user_sums(
                groups.code, self.label, self.prediction, flags, bit, self.cap, groups.n_users
            )
            sums |= {f"{name}_capped": of for name, of in zip(_SUMS[1:], capped.T[1:].copy(), strict=True)}
        for metric in self.measured:
            sums |= self._added(metric, flags, bit)
        return UserStatistics(groups.ids, sums, self.cap, self.measured)

    def _added(self, metric: RatingMetric, flags: Flags, bit: int) -> dict[str, FloatArray]:
        """Return the sums that a metric adds to the shared ones."""
        if type(metric).sums is RatingMetric.sums:
            return {}
        inside: BoolArray = ((flags >> bit) & 1).astype(np.bool_)
        found: dict[str, FloatArray] = {}
        for end, cap in (("", np.inf), ("_capped", self.cap if metric.cappable else None)):
            if cap is not None:
                label, prediction = (np.minimum(of[inside], cap) for of in (self.label, self.prediction))
                rows = RatedRows(label, prediction, self.groups.code[inside], self.groups.n_users)
                found |= {f"{metric.name}.{name}{end}": of for name, of in metric.sums(rows).items()}
        rule = f"one finite number for each of the {self.groups.n_users:,} users from sums"
        size = (self.groups.n_users,)
        return {name: checked_values(metric.name, of, size, rule) for name, of in found.items()}


def user_statistics(
    groups: UserGroups,
    label: ArrayLike,
    prediction: ArrayLike,
    *,
    cap: float | None,
    where: ArrayLike | None = None,
) -> UserStatistics:
    """Sum one model's rows by user; for several slices, use `Measured`, which sorts once.

    Args:
        groups: the users of the rows, from `group_users`; computed once for all models and slices of a table.
        label, prediction: (n,), finite, in the label's units.
        cap: clip both to this maximum for the capped metrics; None for none.
        where: (n,) boolean: use only these rows, and pairs among them. At least one.
    """
    if where is not None:
        kept = mask_column("where", where, groups.code.size)
        label = float_column("label", label, kept.size)[kept]
        prediction = float_column("prediction", prediction, kept.size)[kept]
        groups = UserGroups(groups.ids, groups.code[kept])
    return Measured.of(groups, label, prediction, cap=cap).statistics()[0]


_SUMS = ("rows", "absolute", "squared_error", "label", "label_squared")
"""The sums of `_user_sums`, in order."""


@njit(cache=True, nogil=True)
def _user_sums(
    code: IntArray,
    label: FloatArray,
    prediction: FloatArray,
    flags: Flags,
    bit: int,
    cap: float,
    n_users: int,
) -> FloatArray:
    """Compute `_SUMS` of the rows (n,) whose bit is set, both columns clipped: (n_users, 5)."""
    total, size = 0.0, 0
    for row in range(code.size):
        if (flags[row] >> bit) & 1:
            total += min(label[row], cap)
            size += 1
    mean = total / size
    # A centre that is itself a label makes every deviation of a constant label exactly 0, and one near the
    # mean keeps the sum of squares about as small as the variance.
    centre, nearest = 0.0, np.inf
    for row in range(code.size):
        distance = abs(min(label[row], cap) - mean)
        if (flags[row] >> bit) & 1 and distance <= nearest:
            centre, nearest = min(label[row], cap), distance
    sums = np.zeros((n_users, 5))  # a user's sums are adjacent, to share a cache line
    for row in range(code.size):
        if (flags[row] >> bit) & 1:
            y = min(label[row], cap)
            error, deviation = y - min(prediction[row], cap), y - centre
            user = sums[code[row]]
            user[0] += 1.0
            user[1] += abs(error)
            user[2] += error * error
            user[3] += deviation
            user[4] += deviation * deviation
    return sums
