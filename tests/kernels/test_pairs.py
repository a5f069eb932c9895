from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.errors import DataError
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs


def test_groups_by_user_and_keeps_the_order_given():
    pairs = Pairs.from_arrays([2, 0, 2, 0], [7, 5, 3, 9], [1, 2, 3, 4], [0.5, 1, 1.5, 2], n_users=4)
    assert pairs.indptr.tolist() == [0, 2, 2, 4, 4]
    assert pairs.item.tolist() == [5, 9, 7, 3]
    assert pairs.label.tolist() == [2, 4, 1, 3]
    assert pairs.weight is not None
    assert pairs.weight.tolist() == [1, 2, 0.5, 1.5]
    assert (pairs.indptr.dtype, pairs.item.dtype, pairs.label.dtype) == (np.int64, np.int32, np.float32)
    assert (len(pairs), pairs.n_users) == (4, 4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=60))
def test_is_the_stable_sort(users):
    user, place = np.array(users, dtype=np.int64), np.arange(len(users))
    pairs = Pairs.from_arrays(user, place, place, n_users=7)
    npt.assert_array_equal(pairs.item, np.argsort(user, kind="stable"))
    npt.assert_array_equal(pairs.label, pairs.item)
    npt.assert_array_equal(np.diff(pairs.indptr), np.bincount(user, minlength=7))


@pytest.mark.parametrize(
    ("user", "item", "label", "weight", "message"),
    [
        ([0, 2], [0, 0], [1, 1], None, r"`user` must lie in \[0, 2\); got 2 at position 1"),
        ([0, -1], [0, 0], [1, 1], None, "`user` must lie"),
        ([0, 1], [0, -3], [1, 1], None, "`item` must lie .* got -3"),
        ([0, 1], [0, 2**40], [1, 1], None, "`item` must lie"),
        ([0.0, 1.0], [0, 0], [1, 1], None, "`user` must contain row numbers"),
        ([0, 1], [0], [1, 1], None, "`item` must have the length of `user`"),
        ([0, 1], [0, 0], [1, np.nan], None, "`label` must be finite .* got nan at position 1"),
        ([0, 1], [0, 0], ["a", "b"], None, "`label` must contain numbers"),
        ([0, 1], [0, 0], [[1], [1]], None, "`label` must be one-dimensional"),
        ([0, 1], [0, 0], [1, 1], [1, -1], "`weight` must not be negative"),
        ([0, 1], [0, 0], [1, 1], [1, np.inf], "`weight` must be finite"),
    ],
)
def test_bad_columns_are_refused(user, item, label, weight, message):
    with pytest.raises(DataError, match=message):
        Pairs.from_arrays(user, item, label, weight, n_users=2)


@pytest.mark.parametrize("width", [1, 7, 64])
def test_score_pairs_is_the_dot_product(width):
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(5, width)).astype(np.float32), rng.normal(size=(6, width)).astype(np.float32)
    user, item = rng.integers(5, size=100).astype(np.int32), rng.integers(6, size=100)
    scores = score_pairs(U, V, user, item)
    assert scores.dtype == np.float32
    npt.assert_allclose(scores, (U.astype(float) @ V.astype(float).T)[user, item], rtol=1e-4, atol=1e-5)
    npt.assert_array_equal(score_pairs(U, V, user[10:13], item[10:13]), scores[10:13])


def test_score_pairs_of_nothing_and_of_bad_rows():
    U, V = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    assert score_pairs(U, V, [], []).shape == (0,)
    with pytest.raises(DataError, match=r"`item` must lie in \[0, 4\)"):
        score_pairs(U, V, [0], [4])
    with pytest.raises(DataError, match=r"`user` must lie"):
        score_pairs(U, V, [-1], [0])
    with pytest.raises(DataError, match="the length of"):
        score_pairs(U, V, [0, 1], [0])
    with pytest.raises(ValueError, match="width"):
        score_pairs(U[:, :2], V, [0], [0])


def test_the_transpose_has_the_pairs_by_item_with_users_ascending() -> None:
    pairs = Pairs.from_arrays([2, 0, 2, 0], [1, 1, 0, 1], [1, 2, 3, 4], [5, 6, 7, 8], n_users=3)
    assert pairs.user.tolist() == [0, 0, 2, 2]
    back = pairs.by_item(3)
    assert (back.lists[0].tolist(), back.lists[1].tolist(), back.lists[2].tolist()) == ([2], [0, 0, 2], [])
    assert back.label.tolist() == [3, 2, 4, 1]
    assert back.scaled(np.array([0, 1, 2, 3], np.float32)).weight.tolist() == [0, 6, 16, 15]  # type: ignore[union-attr]
