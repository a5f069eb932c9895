"""Objectives as parts: all that is known of one is in its file, and one's own is as good as a built-in."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import twotower
from twotower import TwoTower
from twotower.config.bases import PredictingConfig, SamplingConfig
from twotower.data.dataset import Dataset
from twotower.errors import BundleError, ConfigError, TwoTowerWarning
from twotower.objectives import PairLoss, Squared
from twotower.objectives.registry import OBJECTIVES, settings_of
from twotower.recommender import Recommender

SOURCE = Path(twotower.__file__).parent
OTHERS = {"targets/target.py": {"logistic"}}
"""Constants that have the name of an objective and another meaning: a key of a saved target."""


@dataclass(frozen=True)
class Slanted(Squared):
    """Squared error, times a factor."""

    Config = PredictingConfig
    factor: float = 1.0

    def __call__(self, U: torch.Tensor, V: torch.Tensor, pairs: Any, **given: Any) -> PairLoss:
        loss, dU, dV = super().__call__(U, V, pairs, **given)
        return PairLoss(self.factor * loss, self.factor * dU, self.factor * dV)


@dataclass(frozen=True)
class Draws(Slanted):
    """One that samples negatives, or says so."""

    samples = True


def data() -> Dataset:
    rng = np.random.default_rng(0)
    ids = {"user_id": rng.integers(0, 30, 600), "item_id": rng.integers(0, 20, 600)}
    rows = pl.DataFrame(ids).unique(maintain_order=True)
    return Dataset.of(
        rows.with_columns(y=(pl.col("user_id") * pl.col("item_id") % 7).cast(pl.Float64)),
        schema={"label": "y"},
    )


@pytest.fixture
def registry():
    """The registry; it is as it was after the test."""
    with OBJECTIVES.temporarily():
        yield OBJECTIVES


def test_no_file_outside_knows_an_objective_by_name():
    found = set()
    for path in SOURCE.rglob("*.py"):
        where = path.relative_to(SOURCE).as_posix()
        if where.startswith("objectives/"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            known = isinstance(node, ast.Constant) and node.value in OBJECTIVES.names()
            if known and node.value not in OTHERS.get(where, set()):
                found.add(f"{where}:{node.lineno} {node.value}")
    assert not found


@pytest.mark.parametrize("name", OBJECTIVES.names())
def test_every_objective_says_what_others_ask(name: str):
    kind = OBJECTIVES.get(name)
    config = kind.Config()
    assert config.name == name
    assert (kind.Config.__doc__ or "").startswith(f"``{name}``: ")
    assert isinstance(kind.of(config, 100, 1000), kind)
    assert 0 < config.auto_regularisation(solved=False) < 1
    assert set(config.searched) <= set(kind.Config.model_fields)
    assert set(config.needs_labels) <= set(config.searched)
    assert kind.samples == (config.sampled_items is not None)
    cells = kind.of(config, 100, 1000).cell_weight(np.array([40, 60]), 500)
    assert (cells is not None) == (config.quadratic == "cells")
    assert not (config.implicit and config.logits)


def test_one_of_ones_own_is_trained_saved_and_loaded(registry, tmp_path: Path):
    settings: dict[str, Any] = {"dim": 8, "epochs": 2, "threads": 1, "refit": False, "regularisation": 0.05}
    with registry.temporarily():
        own = TwoTower(objective=Slanted(1.0), trainer="gradients", **settings)
        assert own.objective.name == f"{__name__}:Slanted"
        assert not own.objective.implicit
        model = own.fit(data().as_train())
        model.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="a class that this program doesn't have; import"):
        Recommender.load(tmp_path / "bundle")
    same = TwoTower(objective="squared", trainer="gradients", posterior=False, **settings)
    assert np.array_equal(model.users.vectors, same.fit(data().as_train()).users.vectors)
    other = TwoTower(objective=Slanted(3.0), trainer="gradients", **settings)
    assert other != own
    assert not np.array_equal(model.users.vectors, other.fit(data().as_train()).users.vectors)
    again = Recommender.load(tmp_path / "bundle")
    assert again.objective == model.objective
    assert np.array_equal(again.predict(data()), model.predict(data()))


def test_a_bundle_without_the_package_of_its_objective_says_so(registry, tmp_path: Path):
    with registry.temporarily(squarred=Slanted):
        TwoTower(objective=Slanted(1.0), dim=4, epochs=1, threads=1).fit(data().as_train()).save(
            tmp_path / "b"
        )
    with pytest.raises(
        BundleError, match=r"got 'squarred'\. The package that adds it may be missing"
    ) as caught:
        Recommender.load(tmp_path / "b")
    assert "Did you mean" not in str(caught.value)


def test_saving_a_class_of_a_script_warns(registry, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Slanted, "__module__", "__main__")
    with registry.temporarily():
        model = TwoTower(objective=Slanted(1.0), dim=4, epochs=1, threads=1).fit(data().as_train())
        with pytest.warns(TwoTowerWarning, match="__main__:Slanted is a class of this script"):
            model.save(tmp_path / "b")
    with pytest.raises(BundleError, match="define it in a module and train again"):
        Recommender.load(tmp_path / "b")


def test_a_name_may_be_given_to_ones_own(registry):
    registry.register(Slanted, "slanted")
    assert Slanted.Config().name == "slanted"
    assert TwoTower(objective="slanted").objective.factor == 1.0
    assert TwoTower(objective=Slanted(2.0)).objective.name == "slanted"
    with pytest.raises(ConfigError, match=r"'objective.name' must be one of .*slanted"):
        TwoTower(objective="slant")


def test_one_that_samples_has_the_settings_of_sampling(registry):
    found = TwoTower(objective=Draws(2.0)).objective
    assert isinstance(found, SamplingConfig)
    assert (found.factor, found.sampled_items, found.implicit) == (2.0, "auto", True)
    assert settings_of(Draws(2.0))["factor"] == 2.0
