"""Gradients on two workers: the scores of one process, killed workers, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest

import twotower as tt
from context_data import data
from small_tables import write_tables
from twotower.config import load_config
from twotower.data.dataset import TrainPart
from twotower.errors import TwoTowerWarning
from twotower.training import Interrupted
from twotower.workflows import load_parts

COMMON: dict[str, Any] = {"dim": 16, "epochs": 2, "refit": False}
MLP = COMMON | {"kind": "mlp", "hidden": [16]}
SQUARED = MLP | {"objective": "squared", "batch_size": 100}


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> TrainPart:
    config = load_config(write_tables(tmp_path_factory.mktemp("tables")))
    return load_parts(config).train


@pytest.fixture(scope="module")
def alone(train: TrainPart) -> tt.Recommender:
    return tt.TwoTower(**SQUARED).fit(train, progress=False)


def same(one: tt.Recommender, other: tt.Recommender) -> None:
    """Check that the order of items and the losses are the same, up to the rounding of sums.

    What is equal for all items of a user, such as the user's bias with `softmax`, has no gradient but
    rounding errors, which Adam makes as large as any.
    """
    scores = [model.users.vectors @ model.items.vectors.T for model in (one, other)]
    npt.assert_allclose(*(of - of.mean(axis=1, keepdims=True) for of in scores), atol=2e-3)
    losses = [[record.get("train_loss", 0.0) for record in model.history] for model in (one, other)]
    npt.assert_allclose(*losses, rtol=1e-4)
    assert np.ptp(scores[0], axis=1).min() > 0.05


@pytest.mark.parametrize(
    "settings",
    [
        MLP | {"objective": "softmax", "batch_size": 100, "negatives": 5, "normalise": True},
        MLP | {"objective": "all_pairs"},
    ],
    ids=lambda one: f"{one['kind']}-{one['objective']}",
)
def test_the_model_is_that_of_one_process(
    cluster: tt.Ray, train: TrainPart, settings: dict[str, Any]
) -> None:
    alone = tt.TwoTower(**settings).fit(train, progress=False)
    same(tt.TwoTower(**settings).fit(train, engine=cluster, progress=False), alone)


def test_kinds_are_chosen_as_in_one_process(
    cluster: tt.Ray, train: TrainPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twotower.estimator.auto.LEAST_JUDGED", 10)
    one = tt.TwoTower(kind="auto", dim=8, epochs=1, refit=False)
    alone = one.fit(train, progress=False)
    found = one.fit(train, engine=cluster, progress=False)
    assert found.training.kinds is not None
    assert found.training.kinds.alone.keys() == {"linear", "item_item", "sequence"}
    for name, value in found.training.kinds.alone.items():
        npt.assert_allclose(value, alone.training.kinds.alone[name], atol=1e-4)
    assert found.training.kinds.weights == alone.training.kinds.weights


class Kills(tt.Callback):
    """Kills a worker in the middle of the second epoch, once."""

    def __init__(self, cluster: tt.Ray) -> None:
        self.cluster, self.done = cluster, False

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        import ray

        if epoch == 2 and not self.done:
            self.done = True
            ray.kill(self.cluster.team().actors[1])


def test_context_statistics_and_dropout_are_those_of_one_process_after_a_kill(cluster: tt.Ray) -> None:
    train = data(recent_days=(1, 7)).as_train()
    settings = COMMON | {"kind": "sequence", "objective": "softmax", "negatives": 4, "batch_size": 300}
    alone = tt.TwoTower(**settings).fit(train, progress=False)
    with pytest.warns(TwoTowerWarning, match="a worker was lost .*: 1 replaced"):
        found = tt.TwoTower(**settings).fit(train, engine=cluster, callbacks=[Kills(cluster)], progress=False)
    same(found, alone)


class Breaks(tt.Callback):
    """Ctrl-C in the second epoch."""

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_training_goes_on_with_and_without_ray(
    cluster: tt.Ray, train: TrainPart, alone: tt.Recommender, tmp_path: Path
) -> None:
    for first, second in ((cluster, None), (None, cluster)):
        kept = tmp_path / str(first)
        with pytest.raises(Interrupted):
            tt.TwoTower(**SQUARED).fit(train, engine=first, checkpoints=kept, callbacks=[Breaks()])
        same(tt.TwoTower(**SQUARED).fit(train, engine=second, checkpoints=kept, resume=True), alone)
