"""Loops over the candidates of queries, in Numba; each pair's numbers do not depend on the other queries."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def dots(U, V, owner, item, first, last, out):  # pragma: no cover
    """Write ``U[owner, first:last] . V[item, first:last]`` of each pair; nan for an item without a row."""
    for p in range(len(item)):
        i = item[p]
        if i < 0:
            out[p] = np.nan
            continue
        total = np.float32(0)
        for k in range(first, last):
            total += U[owner[p], k] * V[i, k]
        out[p] = total


@njit(cache=True, nogil=True)
def standardised(indptr, values, gap, scaled, rank):  # pragma: no cover
    """Write what each value of a query is below the best, in standard deviations, and how many are higher.

    Missing values (nan) stay so.
    """
    for q in range(len(indptr) - 1):
        first, last = indptr[q], indptr[q + 1]
        best, total, squares, n = -np.inf, 0.0, 0.0, 0
        for p in range(first, last):
            v = np.float64(values[p])
            if np.isnan(v):
                continue
            best = max(best, v)
            total += v
            squares += v * v
            n += 1
        mean = total / n if n else 0.0
        sd = np.sqrt(max(squares / n - mean * mean, 0.0)) if n else 0.0
        order = np.argsort(-values[first:last])
        for place in range(last - first):
            p = first + order[place]
            v = np.float64(values[p])
            if np.isnan(v):
                gap[p] = scaled[p] = rank[p] = np.nan
                continue
            gap[p] = best - v
            scaled[p] = (v - mean) / sd if sd > 0.0 else 0.0
            before = first + order[place - 1]
            rank[p] = rank[before] if place and values[before] == values[p] else place + 1


@njit(cache=True, nogil=True)
def _before(times, first, last, time):  # pragma: no cover
    """Return how many of the ascending times from ``first`` up to ``last`` are strictly before a time."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if times[middle] < time:
            low = middle + 1
        else:
            high = middle
    return low - first


@njit(cache=True, nogil=True)
def counts(indptr, times, grades, owner, item, at, now, windows, scale, out):  # pragma: no cover
    """Write what happened to each pair's item before its query is asked.

    Args:
        indptr, times, grades: of items; see `Past.of_items`.
        owner, item: (n_pairs,).
        at: (n,) strictly before this time; inf for all that is known.
        now: (n,) where windows end.
        windows: lengths in seconds.
        scale: what counts are divided by.
        out: (n_pairs, 4 + n_windows): count, mean grade, age, time since the last, counts in the windows.
    """
    for p in range(len(item)):
        i = item[p]
        out[p, :] = np.nan
        if i < 0:
            out[p, 0] = 0.0
            continue
        first, last, q = indptr[i], indptr[i + 1], owner[p]
        n = _before(times, first, last, at[q])
        out[p, 0] = n / scale
        if n:
            out[p, 1] = grades[first + n - 1] / n
            oldest, newest = times[first], times[first + n - 1]
            if oldest > -np.inf:
                out[p, 2] = now[q] - oldest
            if newest > -np.inf:
                out[p, 3] = now[q] - newest
        for w in range(len(windows)):
            out[p, 4 + w] = (n - _before(times, first, first + n, now[q] - windows[w])) / scale


@njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "arcp", "contract"})
def likeness(D, indptr, history, grade, owner, item, most, out):  # pragma: no cover
    """Write cosines of each pair's item to the last items of its query: to the last, the highest, the mean.

    Args:
        D: (n_items, width) directions of length 1.
        indptr, history, grade: of queries; the mean is weighted by grades.
        owner, item: (n_pairs,).
        most: how many of the last items.
        out: (n_pairs, 3).
    """
    for p in range(len(item)):
        i, q = item[p], owner[p]
        first, last = max(indptr[q], indptr[q + 1] - most), indptr[q + 1]
        if i < 0 or first == last:
            out[p, :] = np.nan
            continue
        best, total, weight, newest = np.float32(-2), np.float32(0), np.float32(0), np.float32(0)
        for h in range(first, last):
            cosine = np.float32(0)
            j = history[h]
            for k in range(D.shape[1]):
                cosine += D[i, k] * D[j, k]
            newest = cosine
            best = max(best, cosine)
            total += grade[h] * cosine
            weight += grade[h]
        out[p, 0], out[p, 1] = newest, best
        out[p, 2] = total / weight if weight > 0 else np.nan


@njit(cache=True, nogil=True)
def neighbours(indptr, other, weight, h_indptr, history, grade, decay, p_indptr, item, sums, out):
    """Write the sum of weights between each pair's item and the items of its query's history.

    Args:
        indptr, other, weight: the neighbours of each item.
        h_indptr, history, grade: of queries, in the order of time.
        decay: what an item counts relative to the next one; 1 for all alike.
        p_indptr, item: the pairs of each query.
        sums: (n_items,) zeros, which are zeros again afterwards.
        out: (n_pairs,).
    """
    for q in range(len(p_indptr) - 1):
        factor = np.float32(1)
        for h in range(h_indptr[q + 1] - 1, h_indptr[q] - 1, -1):
            j = history[h]
            for n in range(indptr[j], indptr[j + 1]):
                sums[other[n]] += factor * grade[h] * weight[n]
            factor *= np.float32(decay)
        for p in range(p_indptr[q], p_indptr[q + 1]):
            out[p] = sums[item[p]] if item[p] >= 0 else np.nan
        for h in range(h_indptr[q], h_indptr[q + 1]):
            j = history[h]
            for n in range(indptr[j], indptr[j + 1]):
                sums[other[n]] = np.float32(0)


@njit(cache=True, nogil=True)
def shared(indptr, codes, size, h_indptr, history, grade, p_indptr, item, out):  # pragma: no cover
    """Write how a pair's item shares its categories with its query's history.

    Args:
        indptr, codes: the categories of each item, from 0 to ``size - 1``.
        size: how many there are.
        h_indptr, history, grade: of queries.
        p_indptr, item: the pairs of each query.
        out: (n_pairs, 2): the share of the history's items that have the category, and the mean grade of
            these; of several categories the mean. nan without categories or a history.
    """
    count, total = np.zeros(size, np.float32), np.zeros(size, np.float32)
    for q in range(len(p_indptr) - 1):
        n = h_indptr[q + 1] - h_indptr[q]
        for h in range(h_indptr[q], h_indptr[q + 1]):
            j = history[h]
            for c in range(indptr[j], indptr[j + 1]):
                count[codes[c]] += 1
                total[codes[c]] += grade[h]
        for p in range(p_indptr[q], p_indptr[q + 1]):
            out[p, 0] = out[p, 1] = np.nan
            i = item[p]
            if i < 0 or n == 0 or indptr[i] == indptr[i + 1]:
                continue
            share, graded, with_grade = 0.0, 0.0, 0
            for c in range(indptr[i], indptr[i + 1]):
                share += count[codes[c]] / n
                if count[codes[c]] > 0:
                    graded += total[codes[c]] / count[codes[c]]
                    with_grade += 1
            out[p, 0] = share / (indptr[i + 1] - indptr[i])
            if with_grade:
                out[p, 1] = graded / with_grade
        for h in range(h_indptr[q], h_indptr[q + 1]):
            j = history[h]
            for c in range(indptr[j], indptr[j + 1]):
                count[codes[c]] = total[codes[c]] = 0


_NEW, _ASKED = -1, -2
"""Of a place that is in no block yet: nobody named it, and a source did."""


@njit(cache=True, nogil=True)
def _block(found, others, most, slot, block):  # pragma: no cover
    """Write the places that are ranked for one query: the best of the towers, then what only sources named.

    Args:
        found: (width,) places by the towers, best first, -1 at the end.
        others: (n,) places that sources named, -1 for none.
        most: how many in all, above n.
        slot: (n_places,) `_NEW`, where each place of the block gets its position.
        block: (most,), written.

    Returns:
        How many of ``found`` are in the block as its first, and how many are in it in all.
    """
    left, cut = most, 0
    for place in others:
        if place >= 0 and slot[place] == _NEW:
            slot[place] = _ASKED
            left -= 1
    for place in found:
        if place < 0 or (slot[place] == _NEW and left == 0):
            break
        if slot[place] == _NEW:
            left -= 1
        block[cut], slot[place] = place, cut
        cut += 1
    n = cut
    for place in others:
        if place >= 0 and slot[place] == _ASKED:
            block[n], slot[place] = place, n
            n += 1
    return cut, n


@njit(cache=True, nogil=True)
def unite(found, scores, others, their, rows, U, V, items, out, offered):  # pragma: no cover
    """Write the union of candidates in the order of the towers' score, and what the sources say of it.

    Args:
        found, scores: (n, width) places by the towers, best first, -1 at the end, and their scores.
        others, their: (n, n_sources, k) places by each source, -1 at the end, and their scores.
        rows: (n_places,) the model's row of each place.
        U, V: (n, dim) and (n_items, dim) vectors.
        items, out: (n, width) padding.
        offered: (n, most, 2 * n_sources) nan; ``most`` candidates are ranked, more than n_sources * k.
    """
    width, most, k = found.shape[1], offered.shape[1], others.shape[2]
    slot, block = np.full(len(rows), _NEW, np.int64), np.empty(most, np.int64)
    worth, owner = np.empty(most, np.float32), np.zeros(most, np.int64)
    for q in range(len(found)):
        named = others[q].copy().reshape(-1)
        cut, n = _block(found[q], named, most, slot, block)
        worth[:cut] = scores[q, :cut]
        dots(U[q : q + 1], V, owner[cut:n], rows[block[cut:n]], 0, U.shape[1], worth[cut:n])
        order = np.argsort(-worth[:n], kind="mergesort")  # stable
        for at in range(n):
            items[q, at], out[q, at] = block[order[at]], worth[order[at]]
            slot[block[order[at]]] = at
        for at in range(len(named)):
            if named[at] >= 0:
                source, place = at // k, slot[named[at]]
                offered[q, place, 2 * source] = their[q, source, at % k]
                offered[q, place, 2 * source + 1] = at % k + 1
        at = n
        for i in range(cut, width):
            if found[q, i] >= 0 and at < width and slot[found[q, i]] == _NEW:
                items[q, at], out[q, at] = found[q, i], scores[q, i]
                at += 1
        for b in range(n):
            slot[block[b]] = _NEW
