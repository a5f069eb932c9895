"""What an epoch of a model that ranks is judged by, told by the model that is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import carve_validation
from twotower.estimator import TwoTower
from twotower.evaluation import RankingTask

SMALL: dict[str, Any] = {"dim": 8, "kind": "mlp", "hidden": (8,), "epochs": 4, "refit": False, "threads": 1}


def parts(method: str) -> tuple[TrainPart, Dataset]:
    """Return train and validation of 50 users who like items by the sum of two kinds."""
    rng = np.random.default_rng(5)
    pairs = rng.permutation(50 * 40)[:900]
    user, item = pairs // 40, pairs % 40
    stars = 3.0 + (user % 3 == item % 3) - (item % 4) / 4 + rng.normal(size=900) / 5
    events = pl.DataFrame({"user_id": user, "item_id": item, "stars": stars})
    items = pl.DataFrame({"item_id": np.arange(40), "a": np.arange(40) % 3, "b": np.arange(40) % 4})
    schema = {"label": "stars", "items": {"a": "category", "b": "category"}}
    data = Dataset.of(events, items=items, schema=schema).as_train()
    return carve_validation(data, method, 0.25, 1)


@pytest.mark.parametrize("method", ["per_user", "cold_items"])
def test_an_epoch_is_judged_among_the_catalogue_or_if_all_is_cold_among_the_cold(method: str) -> None:
    train, validation = parts(method)
    model = TwoTower(objective="all_pairs", positive=3.0, **SMALL).fit(train, validation)
    best = [record for record in model.history if record.get("best")][-1]
    positives = model.positive.select(validation)
    cold = positives.interactions["item_id"].unique()
    among = {"per_user": [None, cold], "cold_items": [cold, None]}[method]
    tasks = [RankingTask.prepare(positives, train, ks=(20, 100), candidates=items) for items in among]
    measured = [task.measure(model) for task in tasks]
    for name in ("ndcg@100", "recall@20"):
        assert best[f"validation_{name}"] == pytest.approx(measured[0][name], abs=1e-6)
    assert measured[1]["ndcg@100"] != pytest.approx(measured[0]["ndcg@100"], abs=1e-3)
