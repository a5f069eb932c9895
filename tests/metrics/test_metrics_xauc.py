"""XAUC against the definition, pair by pair."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from twotower.metrics import row_concordance, xauc, xauc_by_user, xauc_per_user

# Few distinct values: ties of labels, predictions and both are the hard cases.
small = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 3)),
        arrays(np.float64, n, elements=st.integers(-4, 4).map(float)),
        arrays(np.float32, n, elements=st.integers(-4, 4).map(lambda k: k / 3)),
    )
)


def pair_by_pair(label, prediction):
    """Concordant and comparable pairs of each row, by the definition, O(n^2)."""
    concordant, comparable = np.zeros(len(label)), np.zeros(len(label), dtype=int)
    for i in range(len(label)):
        for j in range(len(label)):
            if label[i] != label[j]:
                comparable[i] += 1
                if prediction[i] == prediction[j]:
                    concordant[i] += 0.5
                elif (label[i] > label[j]) == (prediction[i] > prediction[j]):
                    concordant[i] += 1
    return concordant, comparable


def share(concordant, comparable):
    return concordant.sum() / comparable.sum() if comparable.sum() else math.nan


@given(small)
@settings(max_examples=150, deadline=None)
def test_rows_and_pooled_value_equal_brute_force(rows):
    _, y, p = rows
    concordant, comparable = row_concordance(y, p)
    expected = pair_by_pair(y, p)
    assert concordant.dtype == np.float64
    assert comparable.dtype == np.int64
    np.testing.assert_array_equal(concordant, expected[0])
    np.testing.assert_array_equal(comparable, expected[1])
    assert xauc(y, p) == pytest.approx(share(*expected), nan_ok=True, rel=1e-15)


@given(small)
@settings(max_examples=80, deadline=None)
def test_by_user_equals_brute_force(rows):
    user, y, p = rows
    ids, values = xauc_per_user(user, y, p)
    assert ids.tolist() == sorted(set(user.tolist()))
    expected = [share(*pair_by_pair(y[user == u], p[user == u])) for u in ids]
    np.testing.assert_allclose(values, expected, rtol=1e-15)
    defined = [value for value in expected if not math.isnan(value)]
    mean = sum(defined) / len(defined) if defined else math.nan
    assert xauc_by_user(user, y, p) == pytest.approx(mean, nan_ok=True)


@pytest.mark.parametrize(("labels", "predictions"), [(2000, 2000), (5, 2000), (2000, 5), (5, 5)])
def test_larger_tables_equal_brute_force(labels, predictions):
    rng = np.random.default_rng(labels + predictions)
    y = rng.integers(0, labels, 1500).astype(float)
    p = np.round(y + rng.normal(0, labels, 1500)) % predictions
    order_y, order_p = np.sign(y[:, None] - y), np.sign(p[:, None] - p)
    concordant, comparable = row_concordance(y, p)
    np.testing.assert_array_equal(concordant, ((order_y != 0) * (1 + order_y * order_p) / 2).sum(axis=1))
    np.testing.assert_array_equal(comparable, (order_y != 0).sum(axis=1))


def test_by_hand():
    # (1, 2) right, (1, 2') tied, (2, 3) wrong, (2', 3) right, (1, 3) right; 2 and 2' are not comparable.
    y, p = [1.0, 2.0, 2.0, 3.0], [0.0, 9.0, 0.0, 5.0]
    concordant, comparable = row_concordance(y, p)
    assert concordant.tolist() == [2.5, 1.0, 1.5, 2.0]
    assert comparable.tolist() == [3, 2, 2, 3]
    assert xauc(y, p) == 3.5 / 5


def test_by_user_is_an_unweighted_mean_over_users_with_a_pair():
    user = [7, 7, 3, 3, 3, 5, 9, 9]
    label = [1.0, 2, 1, 2, 3, 1, 4, 4]
    prediction = [2.0, 1, 1, 2, 3, 1, 1, 2]
    ids, values = xauc_per_user(user, label, prediction)
    assert ids.tolist() == [3, 5, 7, 9]
    np.testing.assert_array_equal(values, [1.0, np.nan, 0.0, np.nan])  # one row; equal labels
    assert xauc_by_user(user, label, prediction) == 0.5


def test_of_a_binary_label_it_is_the_roc_auc():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 2, 3000)
    p = np.round(y + rng.normal(size=3000), 1)
    assert xauc(y, p) == pytest.approx(roc_auc_score(y, p), rel=1e-12)


def test_degenerate_cases():
    assert math.isnan(xauc([1.0], [1.0]))
    assert math.isnan(xauc([2.0, 2.0], [1.0, 3.0]))
    assert math.isnan(xauc_by_user([1, 2], [1.0, 2.0], [1.0, 2.0]))
    assert xauc([1.0, 2.0, 3.0], [7.0, 7.0, 7.0]) == 0.5
    assert xauc([-0.0, 0.0, 1.0], [0.0, 1.0, 0.5]) == 0.5  # both zeros are the same label


@given(small, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_laws(rows, random):
    user, y, p = rows
    value, own = xauc(y, p), xauc_by_user(user, y, p)
    order = list(range(y.size))
    random.shuffle(order)
    exactly = {"rel": 1e-15, "nan_ok": True}
    assert xauc(y[order], p[order]) == pytest.approx(value, **exactly)
    assert xauc_by_user(user[order], y[order], p[order]) == pytest.approx(own, **exactly)
    wide = p.astype(np.float64)
    assert xauc(np.exp(y), np.arctan(wide) * 3 + 1) == pytest.approx(
        value, **exactly
    )  # only the order matters
    assert xauc_by_user(user * 1000 - 5, y**3, np.sinh(wide)) == pytest.approx(own, **exactly)
    assert xauc(y, -p) == pytest.approx(1 - value, rel=1e-12, nan_ok=True)
    assert xauc(y, y) == (1.0 if np.ptp(y) > 0 else pytest.approx(math.nan, nan_ok=True))
