"""Ranking metrics of top-k lists: one value per user, for a bootstrap over users.

A user has R > 0 relevant items and the list ``i_1, i_2, ...``; ``g_r`` is 1 where ``i_r`` is relevant (a
*hit*) and 0 elsewhere, ``m = min(k, R)``, and sums run over ``r <= k``:

``recall@k``
    ``sum g_r / R``. The denominator is R, not m, so recall can't reach 1 if R > k.
``hit_rate@k``
    1 if there is a hit among the first k, else 0.
``precision@k``
    ``sum g_r / k``, divided by k even if the list is shorter.
``ndcg@k``
    ``sum g_r / log2(r + 1)``, divided by the same sum for a list whose first m are hits.
``map@k``
    ``sum g_r P_r / m``, where ``P_r = sum_{s<=r} g_s / r`` is the precision at r: average precision, cut off.
``mrr@k``
    ``1 / r`` of the first hit among the first k, 0 without one.

All are in [0, 1] and higher is better; the metric over users is the mean of their values. Degenerate cases: a
user without relevant items is not counted (nan); a short or empty list has no hits after its end, and nothing
is scaled by the number of candidates.

Sources: Jarvelin & Kekalainen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002 (NDCG, with
the discount of Burges et al., ICML 2005); Manning, Raghavan & Schutze, *Introduction to Information
Retrieval*, 2008, chapter 8 (the others).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from twotower.core.lists import AnyLists, Lists
from twotower.errors import ConfigError, DataError
from twotower.metrics.checks import FloatArray
from twotower.metrics.metric import Metric
from twotower.metrics.ranking_lists import TopRows, checked_items, checked_lists, chunk_count

RECALL = Metric("recall", higher_is_better=True, unit="share")
NDCG = Metric("ndcg", higher_is_better=True, unit="share")
HIT_RATE = Metric("hit_rate", higher_is_better=True, unit="share")
PRECISION = Metric("precision", higher_is_better=True, unit="share")
MAP = Metric("map", higher_is_better=True, unit="share")
MRR = Metric("mrr", higher_is_better=True, unit="share")

_ORDER = (RECALL, NDCG, HIT_RATE, PRECISION, MAP, MRR)  # of the kernel's columns

RANKING_METRICS: dict[str, Metric] = {metric.name: metric for metric in _ORDER}
"""The accuracy metrics with their direction, by name without ``@k``; the metrics of
`twotower.metrics.exposure` have no better direction."""


def ranking_values(
    lists: NDArray[np.integer], relevant: AnyLists, ks: Sequence[int]
) -> Mapping[str, FloatArray]:
    """Compute all metrics of this module for every user.

    Parameters
    ----------
    lists
        (n_users, K) item rows, best first, each at most once per user, -1 after the last.
    relevant
        The relevant items of each user, each once; `Lists`, or ``(pointers, items)``.
    ks
        Cut-offs, each from 1 to K.

    Returns
    -------
    dict
        ``"recall@k"``, ... for each k: (n_users,) float64, nan for a user without relevant items.

    Raises
    ------
    ConfigError
        ``ks`` is empty, or has a k below 1.
    DataError
        Invalid lists or relevant items, or lists shorter than a k.

    >>> lists = np.array([[3, 1, 2]])
    >>> relevant = Lists.from_groups([[1, 5]])
    >>> values = ranking_values(lists, relevant, [2])
    >>> [(name, float(of[0])) for name, of in values.items()]  # doctest: +NORMALIZE_WHITESPACE
    [('recall@2', 0.5), ('ndcg@2', 0.38685280723454163), ('hit_rate@2', 1.0), ('precision@2', 0.5),
     ('map@2', 0.25), ('mrr@2', 0.5)]

    """
    array = np.asarray(lists)
    items = checked_items("relevant", relevant, len(array))
    most = max((int(of.max()) for of in (array, items.values) if of.size), default=-1)
    return accuracy(checked_lists("lists", array, most + 1), items, cut_offs(ks), most + 1)


def recall(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Share of all of a user's relevant items that are among the first k: (n_users,)."""
    return ranking_values(lists, relevant, (k,))[f"recall@{k}"]


def hit_rate(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """1 if the first k contain a relevant item, else 0: (n_users,)."""
    return ranking_values(lists, relevant, (k,))[f"hit_rate@{k}"]


def precision(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Hits among the first k, divided by k: (n_users,)."""
    return ranking_values(lists, relevant, (k,))[f"precision@{k}"]


def ndcg(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Discounted hits among the first k, as a share of the best possible: (n_users,)."""
    return ranking_values(lists, relevant, (k,))[f"ndcg@{k}"]


def average_precision(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Precision at each hit among the first k, summed and divided by ``min(k, R)``: (n_users,)."""
    return ranking_values(lists, relevant, (k,))[f"map@{k}"]


def reciprocal_rank(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """One over the rank of the first hit among the first k, 0 without one: (n_users,)."""
    return ranking_values(lists, relevant, (k,))[f"mrr@{k}"]


def cut_offs(ks: Sequence[int]) -> tuple[int, ...]:
    """Return the distinct cut-offs in ascending order, or raise."""
    if not ks or any(isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1 for k in ks):
        raise ConfigError(
            f"ks must be one or more whole numbers of at least 1; got {tuple(ks)}. Try (10, 20, 100)."
        )
    return tuple(sorted({int(k) for k in ks}))


def accuracy(lists: TopRows, relevant: Lists, ks: tuple[int, ...], n_items: int) -> dict[str, FloatArray]:
    """`ranking_values` for validated arrays: ks ascending, items below ``n_items``."""
    if ks[-1] > lists.shape[1]:
        raise DataError(
            f"lists must be at least as long as the largest k; got length {lists.shape[1]} for k = {ks[-1]}. "
            "Pass longer lists, padded with -1, or use a smaller k."
        )
    n_users = len(lists)
    discount = 1.0 / np.log2(np.arange(2.0, ks[-1] + 2.0))  # (K,)
    ideal = np.append(0.0, np.cumsum(discount))  # (K + 1,) DCG of a list that starts with this many hits
    values = np.empty((len(_ORDER), len(ks), n_users))
    _measure(lists, *relevant.arrays, np.array(ks), discount, ideal, n_items, chunk_count(n_users), values)
    return {f"{metric.name}@{k}": values[m, j] for m, metric in enumerate(_ORDER) for j, k in enumerate(ks)}


@njit(cache=True, nogil=True, parallel=True)
def _measure(  # type: ignore[no-untyped-def]
    lists, pointers, relevant, ks, discount, ideal, n_items, chunks, values
):
    """Fill ``values`` (metrics, n_ks, n_users) in one pass over each list."""
    n_users = lists.shape[0]
    for c in prange(chunks):
        marks = np.full(n_items, -1, dtype=np.int64)  # the last user for whom the item is relevant
        for u in range(c * n_users // chunks, (c + 1) * n_users // chunks):
            n_relevant = pointers[u + 1] - pointers[u]
            if n_relevant == 0:
                values[:, :, u] = np.nan
                continue
            for p in range(pointers[u], pointers[u + 1]):
                marks[relevant[p]] = u
            hits, first, place = 0, 0, 0
            gain, precisions = 0.0, 0.0
            for j in range(ks.size):
                k = ks[j]
                while place < k and lists[u, place] >= 0:
                    if marks[lists[u, place]] == u:
                        hits += 1
                        gain += discount[place]
                        precisions += hits / (place + 1)
                        if hits == 1:
                            first = place + 1
                    place += 1
                most = min(k, n_relevant)
                values[0, j, u] = hits / n_relevant
                values[1, j, u] = gain / ideal[most]
                values[2, j, u] = 1.0 if hits > 0 else 0.0
                values[3, j, u] = hits / k
                values[4, j, u] = precisions / most
                values[5, j, u] = 1.0 / first if hits > 0 else 0.0
