"""EASE against ridge regressions, one an item, and what it refuses."""

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge

from twotower.baselines import EASE, ease, positives
from twotower.data.dataset import Dataset
from twotower.errors import DataError
from twotower.schema import Schema


def random_pairs(n_users=40, n_items=15):
    rng = np.random.default_rng(0)
    matrix = (rng.random((n_users, n_items)) < 0.3).astype(float)
    matrix[np.arange(n_users), np.arange(n_users) % n_items] = 1
    user, item = np.nonzero(matrix)
    return matrix, Dataset.of(pl.DataFrame({"user_id": user, "item_id": item}), schema=Schema()).as_train()


@pytest.mark.parametrize("block", [1, 40, 2**22])
@pytest.mark.parametrize("l2", [0.1, 5.0, 300.0])
def test_each_column_is_the_ridge_regression_on_the_other_items(l2, block, monkeypatch):
    monkeypatch.setattr(positives, "_BLOCK", block)
    matrix, train = random_pairs()
    model = EASE(l2).fit(train)
    for j in range(matrix.shape[1]):
        others = np.arange(matrix.shape[1]) != j
        ridge = Ridge(alpha=l2, fit_intercept=False, solver="cholesky").fit(matrix[:, others], matrix[:, j])
        np.testing.assert_allclose(model.weights[others, j], ridge.coef_, rtol=1e-8, atol=1e-12)
        assert model.weights[j, j] == 0
    users = np.array([3, 0])
    np.testing.assert_allclose(model._scores(users), matrix[users] @ model.weights, rtol=1e-12)


def test_more_items_than_memory_are_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(ease, "MOST_ITEMS", 14)
    with pytest.raises(DataError, match="at most 14 items, train has 15"):
        EASE().fit(random_pairs()[1])
    monkeypatch.setattr(ease, "MOST_ITEMS", 15)
    EASE().fit(random_pairs()[1])


def test_the_grid_rises_evenly():
    steps = np.diff(np.log(ease.GRID))
    assert steps.min() > 0.8
    assert steps.max() < 1.0
