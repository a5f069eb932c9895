"""Bundles without user vectors: they follow from the users' histories when the bundle is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import twotower as tt
from twotower.core.tensors import parse
from twotower.errors import ConfigError
from twotower.recommender.left_out import as_loaded

MODELS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear", "epochs": 12, "regularisation": 0.33},
    "positives": {"kind": "linear", "epochs": 12, "regularisation": 0.33, "min_grade": None, "positive": 3.0},
    "squared": {"kind": "linear", "epochs": 6, "objective": "squared"},
    "layers": {"kind": "mlp", "hidden": [4], "epochs": 3, "objective": "squared", "ensemble_size": 2},
    "item_item": {"kind": "item_item"},
    "sequence": {"kind": "sequence", "epochs": 1, "max_history": 5},
}
EXACT = ("item_item", "sequence")
"""Towers that read histories: their vectors are those of training."""


def dataset(features: bool = False) -> tt.Dataset:
    """Return 40 users of two tastes, one of them without interactions."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 39, 900), rng.integers(0, 30, 900)
    label = np.clip(3 + 1.5 * np.where((user + item) % 2, 1, -1) + rng.normal(0, 0.5, 900), 0, 5)
    rows = pl.DataFrame({"u": user, "i": item, "y": label, "t": np.arange(900.0)}).unique(
        ["u", "i"], maintain_order=True
    )
    users = pl.DataFrame({"u": np.arange(40), "age": np.arange(40.0)})
    schema: dict[str, Any] = {"user": "u", "item": "i", "label": "y", "timestamp": "t"}
    return tt.Dataset.of(rows, users, schema=schema | ({"users": {"age": "number"}} if features else {}))


@pytest.mark.parametrize("name", MODELS)
def test_vectors_follow_from_histories(name: str, tmp_path: Path) -> None:
    train = dataset().as_train()
    model = tt.TwoTower(**{"dim": 8, "threads": 1, **MODELS[name]}).fit(train, exclude_seen=False)
    model.save(tmp_path / "whole")
    model.save(tmp_path / "left", user_vectors=False)
    arrays = parse((tmp_path / "left" / "vectors.safetensors").read_bytes())
    assert "users" not in arrays
    whole, left = tt.load(tmp_path / "whole"), tt.load(tmp_path / "left")
    scores, found = (one.users.vectors @ one.items.vectors.T for one in (whole, left))
    if name in EXACT:
        np.testing.assert_allclose(found, scores, atol=1e-5)
    assert np.corrcoef(scores[:39].ravel(), found[:39].ravel())[0, 1] > (0.9 if name == "layers" else 0.95)
    np.testing.assert_array_equal(as_loaded(model).users.vectors, left.users.vectors)
    queries = [tt.Query(history=[3, 4, 9]), 7]
    np.testing.assert_allclose(  # of someone new as before
        left.encode_queries(queries[:1]), whole.encode_queries(queries[:1]), atol=1e-5
    )
    assert left.recommend(queries, 5).height == 10
    left.save(tmp_path / "again")  # as it was loaded
    np.testing.assert_array_equal(tt.load(tmp_path / "again").users.vectors.shape, left.users.vectors.shape)
    assert "users" not in parse((tmp_path / "again" / "vectors.safetensors").read_bytes())
    left.save(tmp_path / "full", user_vectors=True)
    np.testing.assert_array_equal(tt.load(tmp_path / "full").users.vectors, left.users.vectors)


def test_vectors_of_features_are_kept(tmp_path: Path) -> None:
    model = tt.TwoTower(dim=4, epochs=1, kind="linear", regularisation=0.33).fit(dataset(True).as_train())
    with pytest.raises(ConfigError, match=r"features of users \(age\): set user_vectors = true"):
        model.save(tmp_path / "bundle", user_vectors=False)
    assert not (tmp_path / "bundle").exists()
    reads = tt.TwoTower(dim=4, epochs=1, kind="sequence").fit(dataset(True).as_train())
    reads.save(tmp_path / "bundle", user_vectors=False)
    np.testing.assert_allclose(tt.load(tmp_path / "bundle").users.vectors, reads.users.vectors, atol=1e-5)
