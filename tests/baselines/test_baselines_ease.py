"""EASE against one ridge regression per item, and refused input."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

from twotower.baselines import EASE, ease, feedback
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import DataError


def random_pairs(n_users=40, n_items=15):
    rng = np.random.default_rng(0)
    matrix = (rng.random((n_users, n_items)) < 0.3).astype(float)
    matrix[np.arange(n_users), np.arange(n_users) % n_items] = 1
    user, item = np.nonzero(matrix)
    return matrix, Dataset.of(pl.DataFrame({"user_id": user, "item_id": item}), schema=Schema()).as_train()


@pytest.mark.parametrize("block", [1, 40, 2**22])
@pytest.mark.parametrize("l2", [0.1, 5.0, 300.0])
def test_each_column_is_the_ridge_regression_on_the_other_items(l2, block, monkeypatch):
    monkeypatch.setattr(feedback, "_BLOCK", block)
    matrix, train = random_pairs()
    model = EASE(l2).fit(train)
    for j in range(matrix.shape[1]):
        others = np.arange(matrix.shape[1]) != j
        ridge = Ridge(alpha=l2, fit_intercept=False, solver="cholesky").fit(matrix[:, others], matrix[:, j])
        np.testing.assert_allclose(model.weights[others, j], ridge.coef_, rtol=1e-8, atol=1e-12)
        assert model.weights[j, j] == 0
    users = np.array([3, 0])
    np.testing.assert_allclose(model._scores(users), matrix[users] @ model.weights, rtol=1e-12)


@pytest.mark.parametrize("power", [1.0, 3.0])
@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_with_grades_it_is_the_closed_form_of_their_matrix(l2, power):
    """B = I - P diag(1 / diag P), P = inverse of X'X + l2 I, and a user's scores are x B."""
    matrix, train = random_pairs()
    grades = np.random.default_rng(4).choice([0.2, 0.5, 1.0], matrix.shape)
    user, item = (train.interactions[name].to_numpy() for name in ("user_id", "item_id"))
    model = EASE(l2, power).fit(train, grades=grades[user, item])
    X = (matrix * grades) ** power
    P = np.linalg.inv(X.T @ X + l2 * np.eye(X.shape[1]))
    B = np.eye(len(P)) - P / np.diag(P)
    np.testing.assert_allclose(model.weights, B, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model._scores(np.arange(len(X))), X @ B, rtol=1e-9, atol=1e-12)


def test_with_many_items_float32_gives_the_same(monkeypatch):
    _, train = random_pairs()
    exact = EASE(3.0).fit(train)
    monkeypatch.setattr(ease, "SINGLE_FROM", 15)
    single = EASE(3.0).fit(train)
    assert (exact.weights.dtype, single.weights.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(single.weights, exact.weights, rtol=1e-4, atol=1e-6)
    users = np.arange(10)
    np.testing.assert_allclose(single._scores(users), exact._scores(users), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("single_from", "size"), [(16, 8), (10, 4)])
def test_more_items_than_memory_are_refused_before_anything_is_made(monkeypatch, single_from, size):
    monkeypatch.setattr(ease, "SINGLE_FROM", single_from)
    monkeypatch.setattr(ease, "memory", lambda: 2 * size * 14**2)
    with pytest.raises(DataError, match="at most 14 items here; the training set has 15"):
        EASE().fit(random_pairs()[1])
    monkeypatch.setattr(ease, "memory", lambda: 2 * size * 15**2)
    EASE().fit(random_pairs()[1])
    monkeypatch.setattr(ease, "MOST_ITEMS", 14)
    with pytest.raises(DataError, match="at most 14 items here; the training set has 15"):
        EASE().fit(random_pairs()[1])


def test_this_machine_has_memory():
    assert 2**28 < ease.memory() < 2**50


def test_the_ladder_rises_evenly_and_holds_20():
    assert np.diff(np.log2(ease.L2.values)) == pytest.approx(0.5)
    assert ease.L2.values[ease.L2.start] == 160
    assert 20 in ease.L2.values
