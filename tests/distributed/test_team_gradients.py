"""`TeamGradients` and `TeamSequences`: what one process learns, whatever is divided, on workers in threads.

Nothing is dropped here: random numbers of threads are one sequence. `test_ray_gradients` has dropout.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch
from local_team import LocalEngine
from thread_team import ThreadTeam

import twotower as tt
from small_tables import write_tables
from twotower.config import load_config
from twotower.data.dataset import TrainPart
from twotower.data.store import StoredEvents, StoredTrain
from twotower.distributed.trainers import BLOCK_TRAINERS
from twotower.errors import TwoTowerWarning
from twotower.objectives import Objective, PairLoss
from twotower.objectives.squared import Squared
from twotower.towers import layers, table_files, tower
from twotower.towers.table_files import unfilled
from twotower.training import CallbackList, Interrupted
from twotower.training.registry import TRAINERS
from twotower.workflows import load_parts

COMMON: dict[str, Any] = {"dim": 8, "epochs": 2, "refit": False, "batch_size": 60}
MLP = COMMON | {"kind": "mlp", "hidden": [8], "id_dropout": 0.0, "dropout": 0.0}
NORMALISED = MLP | {"normalise": True, "batch_size": 12}
SEQUENCE = COMMON | {"kind": "sequence", "dropout": 0.0}


@dataclass(frozen=True)
class Whole(Objective):
    """A ranking loss that does not say how it divides: every user's mean counts the same."""

    def __call__(self, U, V, pairs, *, workspace=None, step=None):  # type: ignore[no-untyped-def]
        U, V = U.detach().requires_grad_(), V.detach().requires_grad_()
        with torch.enable_grad():
            user, item = (torch.from_numpy(one.astype(np.int64)) for one in (pairs.user, pairs.item))
            each = (1.0 - (U[user] * V[item]).sum(dim=1)).square()
            counts = torch.from_numpy(pairs.lists.lengths).clamp(min=1)
            loss = torch.zeros(len(U)).index_add(0, user, each).div(counts).square().sum()
            return PairLoss(loss.item(), *torch.autograd.grad(loss, (U, V)))


@dataclass(frozen=True)
class Doubled(Squared):
    """Another loss of a class that says how its own divides, and says nothing of it."""

    def __call__(self, U, V, pairs, **given):  # type: ignore[no-untyped-def]
        loss, dU, dV = super().__call__(U, V, pairs, **given)
        factor = 2.0 if len(pairs) > 30 else 1.0
        return PairLoss(loss * factor, dU * factor, dV * factor)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_parts(load_config(write_tables(tmp_path_factory.mktemp("tables"))))


@pytest.fixture(scope="module")
def train(parts: Any) -> TrainPart:
    return parts.train  # type: ignore[no-any-return]


def on_threads(
    monkeypatch: pytest.MonkeyPatch, workers: int, losses: tuple[int, ...] = (), losing: str = "step"
) -> LocalEngine:
    engine = LocalEngine()
    team = ThreadTeam(workers, monkeypatch, losses, losing)
    engine.trainer = lambda kind, *task: BLOCK_TRAINERS[TRAINERS.known_as(kind)].on(team, *task)  # type: ignore
    return engine


def same(one: tt.Recommender, other: tt.Recommender) -> None:
    """Check that what users' scores of items differ by is the same, up to the rounding of sums."""
    scores = [model.users.vectors @ model.items.vectors.T for model in (one, other)]
    npt.assert_allclose(*(of - of.mean(axis=1, keepdims=True) for of in scores), atol=2e-3)
    losses = [[record.get("train_loss", 0.0) for record in model.history] for model in (one, other)]
    npt.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "workers"),
    [
        (MLP | {"objective": "squared", "ensemble_size": 2}, 3),
        (MLP | {"objective": "huber", "hidden": [8, 8], "shared_layers": True}, 3),
        (MLP | {"objective": "squared", "batch_size": 20}, 7),
        (NORMALISED | {"objective": "softmax", "negatives": 3, "hard_negatives": 4}, 3),
        (MLP | {"objective": "all_pairs", "id_dropout": 0.0}, 3),
        (MLP | {"objective": Whole()}, 3),
        (MLP | {"objective": Doubled()}, 3),
        (SEQUENCE | {"objective": "softmax", "batch_size": 12, "negatives": 3}, 5),
        (SEQUENCE | {"objective": "squared", "id_dropout": 0.0}, 3),
        (COMMON | {"kind": "linear", "trainer": "gradients", "objective": "squared", "id_dropout": 0.0}, 2),
    ],
    ids=lambda one: f"{one['kind']} {one['objective']}" if isinstance(one, dict) else str(one),
)
def test_the_model_is_that_of_one_process(
    train: TrainPart, settings: dict[str, Any], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if settings.get("ensemble_size") == 2 or settings["kind"] == "sequence":  # tables of features are divided
        monkeypatch.setattr(tower, "LARGE_TABLE", 0)
        monkeypatch.setattr(table_files, "LEAST", 0)
    alone = tt.TwoTower(**settings).fit(train, progress=False)
    same(tt.TwoTower(**settings).fit(train, engine=on_threads(monkeypatch, workers), progress=False), alone)


@pytest.mark.filterwarnings("ignore:the catalogue has 30 items")
def test_ndcg_is_that_of_one_process_for_any_number_of_workers(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower, "LARGE_TABLE", 0)
    one = tt.TwoTower(**SEQUENCE | {"objective": "softmax", "epochs": 1})
    found = []
    for workers in (0, 1, 2, 3):
        engine = on_threads(monkeypatch, workers) if workers else None
        model = one.fit(parts.train, engine=engine, progress=False)
        found.append(model.evaluate(parts.test, resamples=2).metrics["ndcg@10"].value)
    assert 0.0 < found[0] < 1.0
    npt.assert_allclose(found, found[0], atol=1e-6)


def test_bpr_draws_others_and_learns_as_well(train: TrainPart, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = NORMALISED | {"objective": "bpr"}
    alone = tt.TwoTower(**settings).fit(train, progress=False)
    found = tt.TwoTower(**settings).fit(train, engine=on_threads(monkeypatch, 3), progress=False)
    losses = [[record["train_loss"] for record in model.history] for model in (alone, found)]
    assert losses[0] != losses[1]
    npt.assert_allclose(*losses, rtol=0.2)
    assert losses[1][1] < losses[1][0]


def test_interactions_on_disk_and_weights(
    train: TrainPart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    weighed = train.with_interactions(
        train.interactions.with_columns(pl.Series("sure", rng.uniform(0.2, 2.0, len(train))))
    )
    schema = weighed.schema.model_copy(update={"weight": "sure"})
    weighed = TrainPart(weighed.interactions, weighed.users, weighed.items, schema)
    events = StoredEvents.of(weighed, tmp_path / "store")
    stored = StoredTrain(events, weighed.users, weighed.items, schema, ())
    one = tt.TwoTower(**MLP, objective="squared")
    alone = one.fit(weighed, weighed, progress=False)
    same(one.fit(stored, weighed, engine=on_threads(monkeypatch, 3), progress=False), alone)


@pytest.mark.parametrize(
    ("losing", "losses"), [("step", (1, 11, 30, 45)), ("put", (5, 40)), ("rows", (5, 40))]
)
def test_an_epoch_in_which_workers_are_lost_is_done_again(
    train: TrainPart, monkeypatch: pytest.MonkeyPatch, losing: str, losses: tuple[int, ...]
) -> None:
    one = tt.TwoTower(**MLP, objective="squared")
    with pytest.warns(TwoTowerWarning, match="a worker was lost .*: replaced"):
        found = one.fit(train, engine=on_threads(monkeypatch, 3, losses, losing), progress=False)
    same(found, one.fit(train, progress=False))


class Breaks(tt.Callback):
    """Ctrl-C in the second epoch."""

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("workers", "then"), [(3, 2), (1, 3)])
def test_training_goes_on_with_another_number_of_workers(
    train: TrainPart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: int, then: int
) -> None:
    one = tt.TwoTower(**MLP, objective="squared")
    engine = on_threads(monkeypatch, workers)
    with pytest.raises(Interrupted):
        one.fit(train, train, engine=engine, checkpoints=tmp_path, callbacks=[Breaks()])
    found = one.fit(train, train, engine=on_threads(monkeypatch, then), checkpoints=tmp_path, resume=True)
    same(found, one.fit(train, train, progress=False))


def test_snapshots_of_tables_are_kept_without_a_copy(
    train: TrainPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, trainers = on_threads(monkeypatch, 2), []
    made, spaces = engine.trainer, []
    monkeypatch.setattr(
        *(layers, "unfilled", lambda *of: spaces.append(table_files._SPACE.get()) or unfilled(*of))
    )
    engine.trainer = lambda *task: trainers.append(made(*task)) or trainers[-1]  # type: ignore
    tt.TwoTower(**MLP, objective="squared").fit(train, engine=engine, progress=False)
    assert spaces[0] == Path(tempfile.gettempdir())  # where the first tables are
    trainer: Any = trainers[0]
    weights = trainer.task.model.state_dict()
    kept = trainer.snapshot()
    assert kept["users.ids.weight"].data_ptr() == weights["users.ids.weight"].data_ptr()
    assert kept["users.out.weight"].data_ptr() != weights["users.out.weight"].data_ptr()
    copies = {name: of.clone() for name, of in kept.items()}
    trainer.epoch(3, CallbackList())
    torch.testing.assert_close(kept, copies, rtol=0, atol=0)
    changed = trainer.task.model.state_dict()
    assert not torch.equal(changed["users.ids.weight"], copies["users.ids.weight"])
    trainer.take(kept)
    torch.testing.assert_close(dict(trainer.task.model.state_dict()), copies, rtol=0, atol=0)
