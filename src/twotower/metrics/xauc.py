"""XAUC: the share of pairs of rows that a prediction puts in the right order, exactly, in O(n log n).

Two rows are *comparable* if their labels differ. A comparable pair counts 1 if the row of the higher label
has the higher prediction, 1/2 if the predictions are equal, 0 otherwise (Zhan et al., "Deconfounding Duration
Bias in Watch-time Prediction for Video Recommendation", KDD 2022). With a label of two values it is the ROC
AUC; with any label it is (Somers' D + 1) / 2.

Only the order of the labels and predictions matters, so both become dense ranks first. The rows are then laid
out by label ascending and, within a label, by prediction descending. In that layout an earlier row with a
*strictly* lower prediction must have a strictly lower label, so a merge sort that counts, for each row, the
lower predictions before it counts its concordant pairs (Knight, JASA 1966). A merge sort rather than a
Fenwick tree because it reads memory in order, which at millions of rows is what costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from twotower.metrics.checks import FloatArray, IntArray, float_column
from twotower.metrics.metric import Metric
from twotower.metrics.users import UserGroups, group_users

Ranks = NDArray[np.integer[Any]]  # int32, or int64 beyond 2^31 rows

XAUC = Metric("xauc", higher_is_better=True, unit="share")
XAUC_BY_USER = Metric("xauc_by_user", higher_is_better=True, unit="share")


@dataclass(frozen=True)
class PairOrder:
    """Rows laid out by label ascending, then prediction descending.

    Attributes
    ----------
    row
        (n,) the original row at each place.
    label, prediction
        (n,) dense ranks from 0 at each place; equal values have equal ranks.

    """

    row: Ranks
    label: Ranks
    prediction: Ranks


def xauc(label: ArrayLike, prediction: ArrayLike) -> float:
    """Share of comparable pairs in the right order, ties of the prediction counting 1/2; higher is better.

    ``sum_{i,j: y_i > y_j} ([p_i > p_j] + [p_i = p_j] / 2) / #{i,j: y_i > y_j}``

    Parameters
    ----------
    label, prediction
        (n,), finite. Any strictly increasing transformation of either changes nothing.

    Degenerate cases: no comparable pair (a constant label) gives nan; a constant prediction gives 1/2.
    Source: Zhan et al., KDD 2022. Note that over rows of many users and items it rewards knowing what the
    label depends on anywhere, such as a video's duration; `xauc_by_user` asks for the order within each user.

    >>> xauc([1.0, 2.0, 3.0], [0.1, 0.1, 0.9])
    0.8333333333333334

    """
    concordant, comparable = row_concordance(label, prediction)
    return _share(float(concordant.sum()), float(comparable.sum()))


def row_concordance(label: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, IntArray]:
    """Count, for each row, the rows it is comparable with and those of them it is in the right order with.

    Every pair is counted at both of its rows, so XAUC is ``concordant.sum() / comparable.sum()``; the rows'
    own counts are what its linearised bootstrap needs (see `twotower.metrics.bootstrap`).

    Parameters
    ----------
    label, prediction
        (n,), finite.

    Returns
    -------
    concordant
        (n,) float64, multiples of 1/2 and exact.
    comparable
        (n,) int64.

    """
    return concordance_of_rows(order_pairs(*_columns(label, prediction)))


def xauc_per_user(user: ArrayLike, label: ArrayLike, prediction: ArrayLike) -> tuple[IntArray, FloatArray]:
    """XAUC within each user's own rows.

    Parameters
    ----------
    user
        (n,) integers.
    label, prediction
        (n,), finite.

    Returns
    -------
    ids
        (n_users,) distinct users, ascending.
    values
        (n_users,) each user's XAUC, nan for a user without a comparable pair.

    """
    y, p = _columns(label, prediction)
    groups = group_users(user, y.size)
    concordant, comparable = concordance_of_users(order_pairs(y, p), groups)
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


def order_pairs(label: FloatArray, prediction: FloatArray) -> PairOrder:
    """Lay rows (n,) out by label ascending, then prediction descending; the sorts that all counts share."""
    # 32 bits wherever they can hold a row number: the work below waits for memory, not for arithmetic.
    index: type[np.integer[Any]] = np.int32 if label.size < np.iinfo(np.int32).max else np.int64
    label_rank, n_labels = _dense_rank(label, np.argsort(label).astype(index))
    by_prediction = np.argsort(prediction).astype(index)
    prediction_rank, _ = _dense_rank(prediction, by_prediction)
    row = _stable_order(label_rank, n_labels, by_prediction[::-1])
    return PairOrder(row, label_rank[row], prediction_rank[row])


def concordance_of_rows(order: PairOrder) -> tuple[FloatArray, IntArray]:
    """`row_concordance` of rows already laid out: ``concordant`` (n,) and ``comparable`` (n,) by row."""
    lower_before, _ = _count_lower_before(order.prediction)
    concordant, comparable = _row_counts(order.row, order.label, order.prediction, lower_before)
    return concordant, comparable


def concordance_of_users(order: PairOrder, groups: UserGroups) -> tuple[FloatArray, IntArray]:
    """Count each user's own pairs, each pair once: ``concordant`` (n_users,), ``comparable`` (n_users,)."""
    code = groups.code[order.row]
    # Stable, so that within a user the rows stay by label ascending, then prediction descending.
    place = _stable_order(code, groups.n_users, np.arange(code.size, dtype=order.row.dtype))
    ends = np.cumsum(np.bincount(code, minlength=groups.n_users))
    concordant, comparable = _user_counts(order.label[place], order.prediction[place], ends)
    return concordant, comparable


def _columns(label: ArrayLike, prediction: ArrayLike) -> tuple[FloatArray, FloatArray]:
    y = float_column("label", label)
    return y, float_column("prediction", prediction, y.size)


def _share(concordant: float, comparable: float) -> float:
    return concordant / comparable if comparable else math.nan


@njit(cache=True)
def _dense_rank(values: FloatArray, order: Ranks) -> tuple[Ranks, int]:
    """Dense ranks (n,) from 0 of ``values`` (n,), given an order that sorts them; and how many there are."""
    rank = np.empty(order.size, dtype=order.dtype)
    current = 0
    previous = values[order[0]]
    for row in order:
        value = values[row]
        if value != previous:
            current += 1
            previous = value
        rank[row] = current
    return rank, current + 1


@njit(cache=True)
def _stable_order(key: Ranks, n_keys: int, given: Ranks) -> Ranks:
    """Sort rows ``given`` (n,) by ``key[row]`` in [0, n_keys), keeping the order of equal ones."""
    start = np.zeros(n_keys + 1, dtype=np.int64)
    for row in given:
        start[key[row] + 1] += 1
    for k in range(n_keys):
        start[k + 1] += start[k]
    order = np.empty(given.size, dtype=given.dtype)
    for row in given:
        order[start[key[row]]] = row
        start[key[row]] += 1
    return order


@njit(cache=True)
def _count_lower_before(values: Ranks) -> tuple[Ranks, Ranks]:
    """For each place of ``values`` (n,), how many earlier places hold a strictly lower value. O(n log n).

    Returns these counts (n,) and ``values`` sorted (n,), which the merge sort leaves behind.
    """
    n = values.size
    value, spare_value = values.copy(), np.empty_like(values)
    place, spare_place = np.arange(n).astype(values.dtype), np.empty_like(values)
    count = np.zeros_like(values)
    width = 1
    while width < n:
        for low in range(0, n, 2 * width):
            middle, high = min(low + width, n), min(low + 2 * width, n)
            left, right = low, middle
            for out in range(low, high):
                # Equal values leave the right half first: they are not lower, so they must not count.
                if left < middle and (right >= high or value[left] < value[right]):
                    spare_value[out], spare_place[out] = value[left], place[left]
                    left += 1
                else:
                    spare_value[out], spare_place[out] = value[right], place[right]
                    count[place[right]] += left - low
                    right += 1
        value, spare_value = spare_value, value
        place, spare_place = spare_place, place
        width *= 2
    return count, value


@njit(cache=True)
def _row_counts(
    row: Ranks, label: Ranks, prediction: Ranks, lower_before: Ranks
) -> tuple[FloatArray, IntArray]:
    """Turn counts of lower predictions among earlier rows into counts over all rows, using group sizes only.

    All arguments (n,), in the layout of `PairOrder`. Returns concordant (n,), comparable (n,) by original
    row.
    """
    n = row.size
    n_predictions = prediction.max() + 1
    tied = np.zeros(n_predictions, dtype=prediction.dtype)  # rows of each prediction
    for p in prediction:
        tied[p] += 1
    not_above = np.cumsum(tied)  # rows with this prediction or a lower one
    tied_before = np.zeros(n_predictions, dtype=prediction.dtype)  # of them, rows of lower labels
    concordant = np.empty(n, dtype=np.float64)
    comparable = np.empty(n, dtype=np.int64)
    start = 0
    while start < n:  # one label at a time: places [start, end)
        end = start
        while end < n and label[end] == label[start]:
            end += 1
        first = start
        while first < end:  # one (label, prediction) at a time: places [first, last)
            p = prediction[first]
            last = first
            while last < end and prediction[last] == p:
                last += 1
            same = last - first
            # Rows of a lower label that lie above this one: discordant. Predictions descend within a label,
            # so the places [start, first) are the rows of the same label that lie above.
            lower = lower_before[first]
            discordant = start - lower - tied_before[p]
            higher = n - not_above[p] - discordant - (first - start)
            ties = tied[p] - same
            for place in range(first, last):
                concordant[row[place]] = lower + higher + 0.5 * ties
                comparable[row[place]] = n - (end - start)
            tied_before[p] += same
            first = last
        start = end
    return concordant, comparable


@njit(cache=True)
def _user_counts(label: Ranks, prediction: Ranks, ends: IntArray) -> tuple[FloatArray, IntArray]:
    """Count each user's own pairs, each pair once.

    Rows (n,) lie by user, then as in `PairOrder`; ``ends`` (n_users,) says where each user's rows end.
    Returns concordant (n_users,), comparable (n_users,).
    """
    concordant = np.zeros(ends.size, dtype=np.float64)
    comparable = np.zeros(ends.size, dtype=np.int64)
    start = 0
    for user in range(ends.size):
        end = ends[user]
        n = end - start
        if n > 1:
            y, p = label[start:end], prediction[start:end]
            same_label, same_both = 0, 0
            label_run, both_run = 0, 0
            for i in range(1, n):
                label_run = label_run + 1 if y[i] == y[i - 1] else 0
                both_run = both_run + 1 if label_run > 0 and p[i] == p[i - 1] else 0
                same_label += label_run
                same_both += both_run
            lower_before, ordered = _count_lower_before(p)
            same_prediction, run = 0, 0
            for i in range(1, n):
                run = run + 1 if ordered[i] == ordered[i - 1] else 0
                same_prediction += run
            concordant[user] = lower_before.sum() + 0.5 * (same_prediction - same_both)
            comparable[user] = n * (n - 1) // 2 - same_label
        start = end
    return concordant, comparable
