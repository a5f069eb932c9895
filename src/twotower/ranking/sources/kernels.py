"""Loops of sources over items and histories, in Numba; a query's items do not depend on the other queries."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def window_sums(indptr, times, grades, start, end, out):  # pragma: no cover
    """Write the sum of grades of each item's interactions from ``start`` up to but not at ``end``.

    Args:
        indptr, times, grades: of items, the grades summed up; see `Past.of_items`.
        start, end: seconds.
        out: float64 (n_items,).
    """
    for i in range(len(indptr) - 1):
        first = indptr[i]
        own = times[first : indptr[i + 1]]
        low, high = np.searchsorted(own, start), np.searchsorted(own, end)
        before = grades[first + low - 1] if low else 0.0
        out[i] = grades[first + high - 1] - before if high > low else 0.0


@njit(cache=True, nogil=True)
def first_open(order, score, of, places, size, b_indptr, barred, items, scores):  # pragma: no cover
    """Write the first items of an order that each query may be given.

    Args:
        order, score: (m, n) item rows, best first, -1 from where nothing follows.
        of: (n_queries,) which order each query has.
        places: (n_items,) the place of each item, -1 for none.
        size: number of places.
        b_indptr, barred: places that a query is not given.
        items, scores: (n_queries, k), padding to be written in.
    """
    shut = np.zeros(size, np.bool_)
    for q in range(len(of)):
        for b in range(b_indptr[q], b_indptr[q + 1]):
            shut[barred[b]] = True
        at = 0
        for j in range(order.shape[1]):
            row = order[of[q], j]
            if row < 0 or at == items.shape[1]:
                break
            place = places[row]
            if place >= 0 and not shut[place]:
                items[q, at], scores[q, at] = place, score[of[q], j]
                at += 1
        for b in range(b_indptr[q], b_indptr[q + 1]):
            shut[barred[b]] = False


@njit(cache=True, nogil=True)
def best_sums(
    indptr, other, weight, h_indptr, history, grade, decay, places, size, b_indptr, barred, items, scores
):  # pragma: no cover
    """Write the items with the highest sums of weights to the items of each query's history.

    Args:
        indptr, other, weight: the neighbours of each item.
        h_indptr, history, grade: of queries, in the order of time.
        decay: what an item counts relative to the next one; 1 for all alike.
        places: (n_items,) the place of each item, -1 for none.
        size: number of places.
        b_indptr, barred: places that a query is not given.
        items, scores: (n_queries, k), padding to be written in.
    """
    shut, sums = np.zeros(size, np.bool_), np.zeros(len(places), np.float32)
    touched = np.empty(len(places), np.int64)
    for q in range(len(h_indptr) - 1):
        for b in range(b_indptr[q], b_indptr[q + 1]):
            shut[barred[b]] = True
        factor, n = np.float32(1), 0
        for h in range(h_indptr[q + 1] - 1, h_indptr[q] - 1, -1):
            j = history[h]
            for p in range(indptr[j], indptr[j + 1]):
                i, more = other[p], factor * grade[h] * weight[p]
                if more > 0:
                    if sums[i] == 0:
                        touched[n] = i
                        n += 1
                    sums[i] += more
            factor *= np.float32(decay)
        found = np.sort(touched[:n])
        kept = 0
        for p in range(n):
            place = places[found[p]]
            if place >= 0 and not shut[place]:
                found[kept] = found[p]
                kept += 1
        own = sums[found[:kept]]
        best = np.argsort(-own, kind="mergesort")  # stable: ties by lower row
        for at in range(min(kept, items.shape[1])):
            items[q, at], scores[q, at] = places[found[best[at]]], own[best[at]]
        sums[touched[:n]] = np.float32(0)
        for b in range(b_indptr[q], b_indptr[q + 1]):
            shut[barred[b]] = False
