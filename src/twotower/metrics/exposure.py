"""Properties of top-k lists: catalogue coverage, evenness, popularity and novelty.

None of them uses relevant items, and none has a better direction: random lists do well on all. They show how
much variety a model's accuracy costs.

``coverage@k`` and ``gini@k`` are computed from all lists together. Resampling users drops lists and thus
items, so a bootstrap distribution would lie below the true coverage and above the true Gini index: they have
no interval. ``avg_popularity_percentile@k`` (mean `popularity_percentile`) and ``novelty@k`` (mean
`self_information`) are means of one value per user and have one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.errors import DataError
from twotower.metrics.checks import FloatArray, IntArray
from twotower.metrics.metric import CatalogueMetric, ListMetric
from twotower.metrics.ranking_lists import TopRows
from twotower.metrics.top_lists import Catalogue


def exposure_counts(lists: TopRows, n_items: int, k: int) -> IntArray:
    """Count the lists, cut off at k, that contain each item: (n_items,).

    >>> exposure_counts(np.array([[0, 2, 1], [2, -1, -1]], dtype=np.int32), 4, k=2)
    array([1, 0, 2, 0])
    """
    return np.bincount(lists[:, :k].ravel() + 1, minlength=n_items + 1)[1:]  # index 0 counts the -1s


def coverage(exposures: NDArray[np.integer[Any]]) -> float:
    """Share of the catalogue that is in any list: ``#{i: e_i > 0} / n_items``.

    Args:
        exposures: (n_items,) in how many lists each item of the catalogue is, from `exposure_counts`.

    Degenerate case: if all lists are empty, 0.

    >>> coverage(np.array([3, 0, 1, 0]))
    0.5
    """
    return float(np.count_nonzero(exposures) / exposures.size)


def gini(exposures: NDArray[np.integer[Any]]) -> float:
    """Gini index of the exposure: 0 if all items are in equally many lists, near 1 if few are in all.

    ``sum_j (2j - n - 1) e_(j) / (n sum_j e_(j))`` with ``e_(1) <= e_(2) <= ...`` over all n items of the
    catalogue, including those in no list; it is the mean absolute difference of two items' exposures over
    twice their mean, and at most ``(n - 1) / n``. Degenerate case: if all lists are empty, nan.

    Args:
        exposures: (n_items,) in how many lists each item of the catalogue is.

    >>> gini(np.array([4, 0, 0, 0]))
    0.75
    """
    ascending = np.sort(exposures).astype(np.float64)
    n, total = ascending.size, ascending.sum()
    weight = 2.0 * np.arange(1, n + 1) - n - 1
    return float(weight @ ascending / (n * total)) if total > 0 else math.nan


def popularity_percentile(counts: NDArray[np.integer[Any]]) -> FloatArray:
    """Percentile rank of each item by its number of training interactions: (n_items,) between 0 and 1.

    ``(#{j: c_j < c_i} + #{j: c_j = c_i} / 2) / n_items``, so that items with equal counts have the same rank
    and the mean over the catalogue is 1/2. Items without training interactions share the lowest rank.

    Args:
        counts: (n_items,) training interactions of each item.

    >>> popularity_percentile(np.array([7, 0, 0, 2]))
    array([0.875, 0.25 , 0.25 , 0.625])
    """
    sizes = np.bincount(counts)
    below = np.cumsum(sizes) - sizes
    place: FloatArray = ((below + sizes / 2.0) / counts.size)[counts]
    return place


def self_information(counts: NDArray[np.integer[Any]], total: int) -> FloatArray:
    """Self-information in bits of each item's share of the training interactions: (n_items,).

    ``-log2(max(c_i, 1) / total)``: an item without training interactions, whose self-information is infinite,
    counts as if it had one, which gives the maximum for a warm item, ``log2(total)``. Source: Vargas &
    Castells, "Rank and relevance in novelty and diversity metrics for recommender systems", RecSys 2011
    (novelty as self-information).

    Args:
        counts: (n_items,) training interactions of each item.
        total: training interactions of all items, including those outside the catalogue; at least 1.

    >>> self_information(np.array([4, 2, 1, 0]), total=8)
    array([1., 2., 3., 3.])
    """
    if total < 1:
        raise DataError(f"novelty needs at least one training interaction; got {total}.")
    bits: FloatArray = math.log2(total) - np.log2(np.maximum(counts, 1))
    return bits


class AvgPopularityPercentile(ListMetric):
    """The mean `popularity_percentile` of each user's list."""

    name = "avg_popularity_percentile"
    title = "popularity percentile"
    heading = "Avg popularity percentile"
    meaning = "mean popularity percentile of the recommended items; 1 is the most popular"
    shown = 5

    def of_item(self, catalogue: Catalogue) -> FloatArray:
        """Return the percentile of each item."""
        return popularity_percentile(catalogue.train_rows)


class Novelty(ListMetric):
    """The mean `self_information` of each user's list."""

    name = "novelty"
    meaning = "mean information of the recommended items, in bits; higher means less known items"
    unit = "bits"

    def of_item(self, catalogue: Catalogue) -> FloatArray:
        """Return the self-information of each item."""
        return self_information(catalogue.train_rows, catalogue.n_train)


class Coverage(CatalogueMetric):
    """The `coverage` of the catalogue."""

    name = "coverage"
    meaning = "share of the catalogue that is in at least one list"
    shown = 4

    def value(self, exposures: IntArray, catalogue: Catalogue) -> float:
        """Return the coverage."""
        del catalogue
        return coverage(exposures)


class Gini(CatalogueMetric):
    """The `gini` index of the exposure."""

    name = "gini"
    title = "Gini"
    meaning = "how unevenly items are recommended: 0 all alike, near 1 only a few"
    undefined = "all lists empty: not defined"

    def value(self, exposures: IntArray, catalogue: Catalogue) -> float:
        """Return the index."""
        del catalogue
        return gini(exposures)
