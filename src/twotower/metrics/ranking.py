"""Ranking metrics of top-k lists: one value per user, for a bootstrap over users.

A user has R > 0 relevant items and the list ``i_1, i_2, ...``; ``g_r`` is 1 where ``i_r`` is relevant (a
*hit*) and 0 elsewhere, ``m = min(k, R)``, and sums run over ``r <= k``.

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
from numpy.typing import NDArray

from twotower.core.lists import AnyLists
from twotower.errors import ConfigError
from twotower.metrics.checks import FloatArray
from twotower.metrics.metric import RankingMetric, ratio
from twotower.metrics.ranking_lists import checked_items, checked_lists
from twotower.metrics.registry import registered
from twotower.metrics.top_lists import Catalogue, TopLists


class Accuracy(RankingMetric):
    """A share of relevant items found, in some sense: higher is better."""

    undefined = "no relevant items: the user is not counted"
    higher_is_better = True


class Recall(Accuracy):
    """``sum g_r / R``: hits among all relevant items. R, not m: it can't reach 1 if R > k."""

    name = "recall"
    meaning = "share of a user's liked items that are in the top k"
    shown = 2

    def values(self, top: TopLists) -> FloatArray:
        """Return each user's value at each cut-off."""
        return ratio(top.hits, top.n_relevant)


class NDCG(Accuracy):
    """``sum g_r / log2(r + 1)``, divided by the same sum for a list whose first m are hits."""

    name = "ndcg"
    title = "NDCG"
    meaning = "as recall, but hits nearer the top count more; 1 is a perfect order"
    shown = 1

    def values(self, top: TopLists) -> FloatArray:
        """Return each user's value at each cut-off."""
        discount = 1.0 / np.log2(np.arange(2.0, top.ks[-1] + 2.0))  # (K,)
        ideal = np.cumsum(discount)  # (K,) of a list that starts with 1, 2, ... hits
        return ratio(top.totals(discount[top.rank - 1]), ideal[top.most - 1])


class HitRate(Accuracy):
    """1 if there is a hit among the first k, else 0."""

    name = "hit_rate"
    meaning = "share of users with at least one hit in the top k"

    def values(self, top: TopLists) -> FloatArray:
        """Return each user's value at each cut-off."""
        return (top.hits > 0).astype(np.float64)


class Precision(Accuracy):
    """``sum g_r / k``, divided by k even if the list is shorter."""

    name = "precision"
    meaning = "share of the top k that are hits"

    def values(self, top: TopLists) -> FloatArray:
        """Return each user's value at each cut-off."""
        return ratio(top.hits, np.array(top.ks)[:, None])


class MAP(Accuracy):
    """``sum g_r P_r / m``, where ``P_r = sum_{s<=r} g_s / r`` is the precision at r: average precision."""

    name = "map"
    title = "MAP"
    meaning = "mean average precision: the precision at each hit, averaged"

    def values(self, top: TopLists) -> FloatArray:
        """Return each user's value at each cut-off."""
        return ratio(top.totals(top.nth / top.rank), top.most)


class MRR(Accuracy):
    """``1 / r`` of the first hit among the first k, 0 without one."""

    name = "mrr"
    title = "MRR"
    meaning = "1 / rank of the first hit, 0 if there is none"
    shown = 3

    def values(self, top: TopLists) -> FloatArray:
        """Return each user's value at each cut-off."""
        return np.where(top.hits > 0, 1.0 / np.maximum(top.first, 1), 0.0)


def ranking_values(
    lists: NDArray[np.integer],
    relevant: AnyLists,
    ks: Sequence[int],
    metrics: Sequence[RankingMetric] | None = None,
) -> Mapping[str, FloatArray]:
    """Compute metrics of lists and relevant items for every user.

    Args:
        lists: (n_users, K) item rows, best first, each at most once per user, -1 after the last.
        relevant: the relevant items of each user, each once; `Lists`, or ``(pointers, items)``.
        ks: cut-offs, each from 1 to K.
        metrics: all that need no more than lists and relevant items by default.

    Returns:
        ``"recall@k"``, ... for each k: (n_users,) float64, nan for a user without relevant items.

    Raises:
        ConfigError: ``ks`` is empty, or has a k below 1.
        DataError: invalid lists or relevant items, or lists shorter than a k.

    >>> lists = np.array([[3, 1, 2]])
    >>> relevant = (np.array([0, 2]), np.array([1, 5]))
    >>> values = ranking_values(lists, relevant, [2])
    >>> [(name, float(of[0])) for name, of in values.items()]  # doctest: +NORMALIZE_WHITESPACE
    [('recall@2', 0.5), ('ndcg@2', 0.38685280723454163), ('hit_rate@2', 1.0), ('precision@2', 0.5),
     ('map@2', 0.25), ('mrr@2', 0.5)]
    """
    array = np.asarray(lists)
    items = checked_items("relevant", relevant, len(array))
    most = max((int(of.max()) for of in (array, items.values) if of.size), default=-1)
    given = checked_lists("lists", array, most + 1)
    top = TopLists.of(given, items, cut_offs(ks), Catalogue.of_rows(most + 1))
    if metrics is None:
        metrics = [one for one in registered(RankingMetric) if one.of_relevant and not one.requires]
    return {name: of for metric in metrics for name, of in metric.measured(top).items()}


def recall(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Share of all of a user's relevant items that are among the first k: (n_users,)."""
    return ranking_values(lists, relevant, (k,), [Recall()])[f"recall@{k}"]


def hit_rate(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """1 if the first k contain a relevant item, else 0: (n_users,)."""
    return ranking_values(lists, relevant, (k,), [HitRate()])[f"hit_rate@{k}"]


def precision(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Hits among the first k, divided by k: (n_users,)."""
    return ranking_values(lists, relevant, (k,), [Precision()])[f"precision@{k}"]


def ndcg(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Discounted hits among the first k, as a share of the best possible: (n_users,)."""
    return ranking_values(lists, relevant, (k,), [NDCG()])[f"ndcg@{k}"]


def average_precision(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """Precision at each hit among the first k, summed and divided by ``min(k, R)``: (n_users,)."""
    return ranking_values(lists, relevant, (k,), [MAP()])[f"map@{k}"]


def reciprocal_rank(lists: NDArray[np.integer], relevant: AnyLists, k: int) -> FloatArray:
    """One over the rank of the first hit among the first k, 0 without one: (n_users,)."""
    return ranking_values(lists, relevant, (k,), [MRR()])[f"mrr@{k}"]


def cut_offs(ks: Sequence[int]) -> tuple[int, ...]:
    """Return the distinct cut-offs in ascending order, or raise."""
    if not ks or any(isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1 for k in ks):
        raise ConfigError(
            f"ks must be one or more whole numbers of at least 1; got {tuple(ks)}. Try (10, 20, 100)."
        )
    return tuple(sorted({int(k) for k in ks}))
