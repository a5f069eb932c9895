"""Counting of concordant pairs: ranks against NumPy, counts against the definition, and slices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from twotower.errors import DataError
from twotower.metrics import group_users, row_concordance, user_statistics
from twotower.metrics.bootstrap import intervals, intervals_of_all
from twotower.metrics.pair_order import rank_values
from twotower.metrics.statistics import Measured

finite = st.floats(allow_nan=False, allow_infinity=False)
# Values that differ in the last bit, which the sort keys treat as equal, other values, and both zeros.
close = st.integers(-40, 40).map(lambda k: 1.0 + k * np.finfo(float).eps)
columns = st.integers(1, 60).flatmap(
    lambda n: arrays(np.float64, n, elements=finite | close | close.map(lambda v: -v) | st.just(-0.0))
)


@given(columns)
@settings(max_examples=200, deadline=None)
def test_ranks_are_the_places_among_the_distinct_values(values):
    distinct, rank = np.unique(values + 0.0, return_inverse=True)  # + 0.0: makes both zeros equal
    found = rank_values(values)
    assert found.rank.tolist() == rank.tolist()
    assert found.size == len(distinct)


def test_ranks_of_values_that_differ_in_the_last_bits_alone():
    rng = np.random.default_rng(0)
    values = 0.1 + rng.integers(-3000, 3000, 5000) * np.spacing(0.1)
    assert rank_values(values).rank.tolist() == np.unique(values, return_inverse=True)[1].tolist()


@pytest.mark.parametrize("labels", [4, 5000])
def test_counts_of_more_rows_than_two_digits_hold_equal_brute_force(labels):
    rng = np.random.default_rng(labels)
    y, p = rng.integers(0, labels, 5000).astype(float), rng.normal(size=5000)
    p[:500] = p[500:1000]
    above, higher, equal = y[:, None] > y, p[:, None] > p, p[:, None] == p
    below, lower = above.T, higher.T
    wanted = ((above & higher) | (below & lower)).sum(axis=1) + 0.5 * ((above | below) & equal).sum(axis=1)
    concordant, comparable = row_concordance(y, p)
    np.testing.assert_array_equal(concordant, wanted)
    np.testing.assert_array_equal(comparable, (above | below).sum(axis=1))


@pytest.fixture(scope="module")
def rows():
    """User groups, labels and predictions with ties of both."""
    rng = np.random.default_rng(1)
    user, label = rng.integers(0, 25, 900), np.round(rng.lognormal(size=900), 1)
    return group_users(user), label, np.round(label + rng.normal(size=900), 1)


def test_slices_that_share_a_sort_equal_slices_sorted_alone(rows):
    groups, label, prediction = rows
    rng = np.random.default_rng(2)
    masks = [rng.random(900) < share for share in np.linspace(0.01, 1.0, 18)]  # more than two bytes of flags
    masks += [label == label[0], groups.code == 3, np.arange(900) == 7]
    measured = Measured.of(groups, label, prediction, cap=2.0, ranking=rank_values(label))
    whole, *found = measured.statistics(masks)
    for one, mask in zip([whole, *found], [None, *masks], strict=True):
        alone = user_statistics(groups, label, prediction, cap=2.0, where=mask)
        assert list(one.sums) == list(alone.sums)
        for name, values in alone.sums.items():
            np.testing.assert_array_equal(one.sums[name], values, err_msg=name)


def test_a_mask_without_rows_is_refused(rows):
    groups, label, prediction = rows
    with pytest.raises(DataError, match="at least one row"):
        Measured.of(groups, label, prediction, cap=None).statistics([label < 0])


def test_intervals_of_all_are_those_of_each(rows):
    groups, label, prediction = rows
    statistics = Measured.of(groups, label, prediction, cap=2.0).statistics([label > 1, groups.code < 9])
    found = intervals_of_all(statistics, resamples=80, seed=4)
    assert found == [intervals(one, resamples=80, seed=4) for one in statistics]
