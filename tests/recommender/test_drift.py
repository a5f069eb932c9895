"""How far interactions are from the training set."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon

from twotower.data.dataset import Dataset
from twotower.estimator import TwoTower
from twotower.recommender.drift import GROUPS, DriftReference, distance


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    rng = np.random.default_rng(0)
    cell = rng.choice(40 * 50, 600, replace=False)
    item = (cell % 50) * (cell % 3) // 2  # some far more popular
    rows = pl.DataFrame({"user_id": cell // 50, "item_id": item, "stars": rng.gamma(2.0, 1.0, 600)})
    data = Dataset.of(rows.unique(["user_id", "item_id"]), schema={"label": "stars"}).as_train()
    model = TwoTower(kind="linear", dim=4, epochs=1, regularisation=0.3, threads=1).fit(data)
    return DriftReference(model)


@pytest.mark.parametrize("seed", range(5))
def test_the_distance_is_that_of_scipy(seed):
    rng = np.random.default_rng(seed)
    counts, shares = rng.integers(0, 9, 7) * 1.0 + np.eye(7)[0], rng.dirichlet(np.ones(7))
    shares[seed] = 0.0
    shares /= shares.sum()
    assert distance(counts, shares) == pytest.approx(jensenshannon(counts, shares, 2.0))
    assert distance(np.zeros(7), shares) is None
    assert distance(shares * 100, shares) == pytest.approx(0.0, abs=1e-7)


def test_the_training_set_itself_has_not_drifted(reference):
    model = reference.model
    users = model.user_ids[model.seen.owners()]
    items = model.item_ids[model.seen.values]
    same = reference.of(users, items, model.seen_label)
    assert same == {"label": 0.0, "item_popularity": 0.0, "new_users": 0.0}
    assert reference.item_shares[:-1].max() < 3 / GROUPS
    assert reference.label_shares.max() < 2 / GROUPS


def test_other_labels_items_and_users_are_far(reference):
    n = 100
    rare = reference.model.item_ids[int(np.argmax(reference.group_of_item))]
    moved = reference.of(pl.Series([1] * 50 + [9999] * 50), pl.Series([rare] * n), np.full(n, 1e6))
    assert moved["new_users"] == 0.5
    assert moved["label"] > 0.7
    assert moved["item_popularity"] > 0.7
    assert reference.of(pl.Series([1]), pl.Series([-5]), None) == {"item_popularity": 1.0, "new_users": 0.0}
