"""Exact counts of concordant pairs of rows in O(n log n), for `twotower.metrics.xauc`.

Rows are ordered as in `PairOrder`: by label ascending and, within a label, by prediction descending. In this
order an earlier row with a *strictly* lower prediction also has a strictly lower label, so a sort that
counts, for each row, the lower predictions before it counts its concordant pairs (Knight, JASA 1966, with a
merge sort). Over all rows a radix sort is used, since ranks are integers: four stable passes for 4.7 M rows,
instead of the 22 of a merge sort. Within a user, with few rows, a merge sort is used.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from twotower.metrics.checks import FloatArray, IntArray
from twotower.metrics.pair_order import PairOrder, Ranks, take


def concordance(order: PairOrder, size: int) -> tuple[FloatArray, IntArray]:
    """Count every row's pairs with all rows, and sum the counts by ``order.row`` in [0, size).

    Returns:
        concordant: (size,) float64, multiples of 1/2 and exact.
        comparable: (size,) int64.
    """
    prediction, below = _closed_ranks(order.prediction)
    lower_before, place = _count_lower_before(prediction, below)
    row, label = take(order.row, place), take(order.label, place)
    concordant = _concordant(row, label, lower_before, place, below, size)
    return concordant, _comparable(order.row, order.label, size)


def concordance_within_users(order: PairOrder, rows: IntArray) -> tuple[FloatArray, IntArray]:
    """Count each user's own pairs, each pair once: ``concordant`` (n_users,), ``comparable`` (n_users,).

    ``order`` is sorted by user (`PairOrder.by_user`), and ``rows`` (n_users,) is the number of rows of each.
    """
    concordant, comparable = _user_counts(order.label, order.prediction, np.cumsum(rows))
    return concordant, comparable


@njit(cache=True, nogil=True)
def _closed_ranks(rank: Ranks) -> tuple[Ranks, Ranks]:
    """Return ranks (n,) without gaps from omitted rows, and ``below`` (n_ranks + 1,).

    ``below[k]`` is the number of rows of lower rank than k, so k's rows sorted lie in [below[k], below[k+1]).
    """
    highest = 0
    for k in rank:
        highest = max(highest, k)
    counts = np.zeros(highest + 1, dtype=rank.dtype)
    for k in rank:
        counts[k] += 1
    below = np.zeros(highest + 2, dtype=rank.dtype)
    closed = 0
    for k in range(counts.size):
        count = counts[k]
        if count:
            below[closed + 1] = below[closed] + count
            counts[k] = closed  # from here on, the new rank
            closed += 1
    return take(counts, rank), below[: closed + 1]


_BITS = 6
_DIGITS = 1 << _BITS


@njit(cache=True, nogil=True)
def _count_lower_before(values: Ranks, below: Ranks) -> tuple[Ranks, Ranks]:
    """For each of ``values`` (n,), dense ranks, count the earlier positions with a strictly lower value.

    A radix sort from the highest digit down. Two values separate at the first digit in which they differ,
    while they are in the same node (values that share all higher digits) and in their original order. So a
    row's count is the sum, over the passes, of earlier rows of its node with a lower digit.

    Returns the counts (n,) and their positions (n,), both sorted by value, then by position.
    """
    n_values = below.size - 1
    value, spare_value = values.copy(), np.empty_like(values)
    place, spare_place = np.empty_like(values), np.empty_like(values)
    for i in range(values.size):
        place[i] = i
    count, spare_count = np.zeros_like(values), np.empty_like(values)
    higher = np.zeros((_DIGITS, _DIGITS), dtype=values.dtype)  # row d: 1 for the digits above d
    for digit in range(_DIGITS):
        for other in range(digit + 1, _DIGITS):
            higher[digit, other] = 1
    lower = np.empty(_DIGITS, dtype=values.dtype)  # earlier rows of the node with a lower digit
    out = np.empty(_DIGITS, dtype=values.dtype)  # where the next row of this digit goes
    shift = 0
    while 1 << shift < n_values:
        shift += _BITS
    while shift > 0:
        digit_shift = shift - _BITS
        for node in range(((n_values - 1) >> shift) + 1):
            first = node << shift
            begin, end = below[first], below[min(first + (1 << shift), n_values)]
            for digit in range(_DIGITS):
                lower[digit] = 0
                out[digit] = below[min(first + (digit << digit_shift), n_values)]
            for old in range(begin, end):
                digit = (value[old] >> digit_shift) & (_DIGITS - 1)
                new = out[digit]
                out[digit] = new + 1
                spare_value[new], spare_place[new] = value[old], place[old]
                spare_count[new] = count[old] + lower[digit]
                for other in range(_DIGITS):  # fixed length, no branch: a few vector instructions
                    lower[other] += higher[digit, other]
        value, spare_value = spare_value, value
        place, spare_place = spare_place, place
        count, spare_count = spare_count, count
        shift = digit_shift
    return count, place


@njit(cache=True, nogil=True)
def _concordant(
    row: Ranks, label: Ranks, lower_before: Ranks, place: Ranks, below: Ranks, size: int
) -> FloatArray:
    """Sum the rows' concordant pairs (ties of the prediction count 1/2) by ``row``: (size,).

    All of (n,), by prediction ascending, then by place of the layout: ``place`` and ``lower_before`` as
    `_count_lower_before` returns them, ``row`` and ``label`` taken from there. ``below`` as `_closed_ranks`
    returns it. Of a row with L lower predictions before it, in a run [A, B) of equal predictions, T of them
    with a lower label and E with the same label, the first of these E at place F of the layout:

    - discordant with F' - L - T rows of lower labels, F' being the place where its label starts;
    - F - F' rows have its label and a higher prediction, n - B any label and a higher prediction;
    - so (n - B) - (F' - L - T) - (F - F') = n - B - F + L + T rows have a higher label and prediction,
    - and of the B - A equal predictions all but E have another label.
    """
    n = label.size
    total = np.zeros(size, dtype=np.float64)
    for value in range(below.size - 1):
        begin, end = below[value], below[value + 1]
        first = begin
        while first < end:  # one (prediction, label) at a time: [first, last) of the sorted rows
            last = first + 1
            while last < end and label[last] == label[first]:
                last += 1
            higher = n - end - place[first] + lower_before[first] + (first - begin)
            ties = (end - begin) - (last - first)
            for i in range(first, last):
                total[row[i]] += lower_before[first] + higher + 0.5 * ties
            first = last
    return total


@njit(cache=True, nogil=True)
def _comparable(row: Ranks, label: Ranks, size: int) -> IntArray:
    """Sum the rows' comparable pairs by ``row``: (size,). Arguments (n,) in the order of `PairOrder`."""
    n = label.size
    total = np.zeros(size, dtype=np.int64)
    start = 0
    while start < n:  # one label at a time: places [start, end)
        end = start + 1
        while end < n and label[end] == label[start]:
            end += 1
        for place in range(start, end):
            total[row[place]] += n - (end - start)
        start = end
    return total


@njit(cache=True, nogil=True)
def _user_counts(label: Ranks, prediction: Ranks, ends: IntArray) -> tuple[FloatArray, IntArray]:
    """Count each user's own pairs, each pair once.

    Rows (n,) are sorted by user, then as in `PairOrder`; ``ends`` (n_users,) is the end of each user's rows.
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
            same_label, same_both = _equal_pairs(y, p)
            lower_before, ordered = _merge_sort(p)
            same_prediction, _ = _equal_pairs(ordered, ordered)
            concordant[user] = lower_before + 0.5 * (same_prediction - same_both)
            comparable[user] = n * (n - 1) // 2 - same_label
        start = end
    return concordant, comparable


@njit(cache=True, nogil=True)
def _equal_pairs(first: Ranks, second: Ranks) -> tuple[int, int]:
    """Count pairs of positions with equal ``first``, and with both equal; equal ones are adjacent."""
    equal, both = 0, 0
    run, both_run = 0, 0
    for i in range(1, first.size):
        run = run + 1 if first[i] == first[i - 1] else 0
        both_run = both_run + 1 if run > 0 and second[i] == second[i - 1] else 0
        equal += run
        both += both_run
    return equal, both


@njit(cache=True, nogil=True)
def _merge_sort(values: Ranks) -> tuple[int, Ranks]:
    """Count pairs whose earlier position has a strictly lower value, and sort. O(n log n)."""
    n = values.size
    value, spare = values.copy(), np.empty_like(values)
    pairs = 0
    width = 1
    while width < n:
        for low in range(0, n, 2 * width):
            middle, high = min(low + width, n), min(low + 2 * width, n)
            left, right, out = low, middle, low
            while left < middle and right < high:
                # Equal values leave the right half first: they are not lower, so they must not count. Sums #
                # instead of branches, half of which would be mispredicted.
                lower = int(value[left] < value[right])
                spare[out] = value[left] if lower else value[right]
                pairs += (1 - lower) * (left - low)
                left += lower
                right += 1 - lower
                out += 1
            pairs += (high - right) * (left - low)
            for rest in range(left, middle):
                spare[out] = value[rest]
                out += 1
            for rest in range(right, high):
                spare[out] = value[rest]
                out += 1
        value, spare = spare, value
        width *= 2
    return pairs, value
