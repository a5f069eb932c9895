"""The contract of every trainer, and of one's own: learning, resuming, callbacks, refusals, stopping."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch

import twotower as tt
from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig, load_config
from twotower.config.sections import Positive
from twotower.errors import ConfigError, TrainingError
from twotower.estimator.setup import settled
from twotower.evaluation.epochs import EpochValidator
from twotower.features import Codes, Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives.penalty import strength_of
from twotower.objectives.registry import OBJECTIVES
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.registry import TOWERS
from twotower.training import (
    Callback,
    CallbackList,
    Interrupted,
    Loop,
    Outcome,
    Record,
    Trainer,
    TrainingTask,
)
from twotower.training.queries import TrainQueries, in_order
from twotower.training.registry import TRAINERS

N_USERS, N_ITEMS, N = 12, 9, 300


class DescentConfig(TrainingConfig):
    """``descent``: plain steps on all pairs."""

    learning_rate: Positive = 0.02
    """Initial learning rate."""


class Descent(Trainer):
    """A small trainer of one's own, whose state is its learning rate."""

    Config = DescentConfig

    def __init__(self, task: TrainingTask, config: DescentConfig) -> None:
        super().__init__(task, config)
        self.now = config.learning_rate

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        reads = TOWERS.get(model.kind).reads_history
        return not objective.implicit and not model.normalise and not reads

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        task = self.task
        U, V = task.model.train()(task.users, task.items)
        found = task.objective(U.detach(), V.detach(), task.pairs)
        if not np.isfinite(found.loss):
            raise TrainingError(f"the loss must stay finite; got {found.loss}{self.advice(self.now)}")
        task.model.zero_grad()
        torch.autograd.backward([U, V], [found.dU, found.dV])
        torch.optim.SGD(task.model.parameters(), lr=self.now).step()
        callbacks.on_step_end(epoch=number, pairs_done=len(task.pairs), loss=found.loss)
        return found.loss

    def rate(self, epoch: int) -> float:
        return self.now

    def set_rate(self, rate: float) -> None:
        self.now = rate

    def observe(self, *, best: bool) -> None:
        self.now *= 1.0 if best else 0.5

    def values(self) -> dict[str, Any]:
        return {"now": self.now}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        self.now = values["now"]


OF = {name: TRAINERS.get(name) for name in TRAINERS if name != "several"} | {"descent": Descent}
"""All but the one that runs others, which `tests/estimator/test_auto.py` is for."""
KINDS = [name for name in TOWERS.names() if not TOWERS.get(name).composed]
EVERY = list(product(OF, KINDS, OBJECTIVES.names()))
ABLE = [
    (name, kind, loss)
    for name, kind, loss in EVERY
    if OF[name].trains(TOWERS.get(kind).Config(), OBJECTIVES.get(loss).Config())
]
every_able = pytest.mark.parametrize(("name", "kind", "loss"), ABLE)
FIRST = {name: (kind, loss) for name, kind, loss in reversed(ABLE)}
each = pytest.mark.parametrize(("name", "kind", "loss"), [(name, *FIRST[name]) for name in OF])


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """Registers the own trainer for a test; the steps here are too small for several threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    with TRAINERS.temporarily(descent=Descent):
        yield
    numba.set_num_threads(before)


QUICK: dict[str, dict[str, Any]] = {"sequences": {"batch_size": 20, "learning_rate": 0.02}}
"""Settings with which a trainer gets somewhere in a few epochs on little data."""


def side(n: int, seed: int) -> SideArrays:
    rng = np.random.default_rng(seed)
    blocks: dict[str, Any] = {
        "x": Dense(rng.normal(size=(n, 3)).astype(np.float32)),
        "c": Codes(rng.integers(0, 4, n).astype(np.int32), 4),
    }
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


USERS, ITEMS = side(N_USERS, 0), side(N_ITEMS, 1)


def trainer(name: str, kind: str, loss: str, **training: Any) -> Trainer:
    """A trainer of a model of one member, with labels from 0 to 1 that are a product of two directions."""
    rng = np.random.default_rng(2)
    user, item = rng.integers(0, N_USERS, N), rng.integers(0, N_ITEMS, N)
    label = (0.5 + 0.5 * np.sin(user + 2.0 * item)).astype(np.float32)
    of, rows, n_rows, queries = TOWERS.get(kind), user, N_USERS, None
    if of.reads_history and of.ordered:
        time = rng.integers(0, 40, N).astype(float)
        past = in_order(user, item, label.astype(float), time, N_USERS)
        queries, rows = TrainQueries.of(user, time, past, ITEMS)
        n_rows = len(queries.user)
    pairs = Pairs.from_arrays(rows, item, label, n_users=n_rows)
    quiet = {"dropout": 0.1} if "dropout" in of.Config.model_fields else {}
    model = of.Config(dim=8, ensemble_size=1, **quiet)
    training = QUICK.get(name, {}) | {"trainer": name, "epochs": 6, "threads": 1, **training}
    given = OF[name].Config.model_validate(training)
    own = OBJECTIVES.get(loss).Config
    # every cell has pairs here: none needs the weight of data of which little is observed
    dense = {"unobserved_mass": 1.0} if "unobserved_mass" in own.model_fields else {}
    # nor do random pairs need to be regularised
    free = {"regularisation": 0.001} if own.start_scale and name == "gradients" else {}
    parts = settled(model, own(**dense, **free), given)
    torch.manual_seed(7)  # which no result may depend on
    towers = TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, parts.model, seed=0)
    objective = OBJECTIVES.get(loss).of(parts.objective, N, n_rows * N_ITEMS)
    penalty = strength_of(parts.objective, pairs, N_ITEMS)
    task = TrainingTask(towers, USERS, ITEMS, pairs, objective, parts.objective, penalty, 0, queries)
    return OF[name](task, parts.training)


class Scripted(EpochValidator):
    """Gives these losses one after the other, and keeps the weights that it saw."""

    by = "validation_loss"

    def __init__(self, losses: list[float]) -> None:
        self.losses, self.seen = iter(losses), list[dict[str, torch.Tensor]]()

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        self.seen.append(state(model))
        return {"validation_loss": next(self.losses)}


class Recorder(Callback):
    """Keeps the events, and does something after an epoch."""

    def __init__(self, after: Callable[[int], None] = lambda epoch: None) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.after = after

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        self.events.append(("start", phase, epochs, first_epoch, pairs))

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        assert np.isfinite(loss)
        self.events.append(("step", epoch, pairs_done))

    def on_epoch_end(self, record: Record) -> None:
        self.events.append(("epoch", record["epoch"]))
        self.after(record["epoch"])

    def on_phase_end(self, *, reason: str) -> None:
        self.events.append(("end", reason))


def state(model: TwoTowerModel) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def run(
    made: Trainer, validator: EpochValidator | None = None, folder: Path | None = None, **given: Any
) -> Outcome:
    callbacks = CallbackList(given.pop("callbacks", []))
    return Loop(made, "train", "this run", folder, callbacks).run(validator, epochs=6, **given)


@every_able
def test_epochs_lower_the_loss(name: str, kind: str, loss: str) -> None:
    made = trainer(name, kind, loss)
    if (
        made.task.settings.start_scale and name == "gradients"
    ):  # from a solution only longer steps are seen above the noise
        made.set_rate(0.05)
        made.task.model.users.id_dropout = made.task.model.items.id_dropout = 0.0
    before = state(made.task.model)
    losses = [record["train_loss"] for record in run(made).history]
    assert len(losses) == 6
    assert (losses[-1] == losses[0]) if made.at_once else (losses[-1] < losses[0])
    changed = {key for key, tensor in state(made.task.model).items() if not torch.equal(tensor, before[key])}
    users = "users.inputs" if made.task.model.users.reads_history else "users"
    assert changed >= {f"{users}.ids.weight", "items.ids.weight"}


@every_able
def test_a_resumed_run_has_the_same_bits(name: str, kind: str, loss: str, tmp_path: Path) -> None:
    script = [5.0, 4.0, 4.5, 4.6, 3.0, 2.0]  # with a plateau
    unbroken = trainer(name, kind, loss)
    expected = run(unbroken, Scripted(script))

    def stop(epoch: int) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):  # the third epoch is the last in the checkpoint
        run(trainer(name, kind, loss), Scripted(script), tmp_path, callbacks=[Recorder(stop)])
    again, recorder = trainer(name, kind, loss), Recorder()
    found = run(again, Scripted(script[3:]), tmp_path, resume=True, callbacks=[recorder])
    assert recorder.events[0] == ("start", "train", 6, 4, N)
    assert same(state(again.task.model), state(unbroken.task.model))
    assert found.rates == expected.rates
    losses = [[record["train_loss"] for record in of.history] for of in (found, expected)]
    assert losses[0] == losses[1]


@every_able
def test_the_state_is_all_that_a_trainer_remembers(name: str, kind: str, loss: str) -> None:
    first, second = trainer(name, kind, loss), trainer(name, kind, loss)

    def take(made: Trainer, epoch: int) -> float:
        torch.manual_seed(epoch)  # as the loop does
        return made.epoch(epoch, CallbackList([]))

    for epoch in (1, 2, 3):
        take(first, epoch)
        first.observe(best=epoch == 1)
    second.task.model.load_state_dict(state(first.task.model))
    tensors = {key: tensor.clone() for key, tensor in first.tensors().items()}
    second.restore(tensors, json.loads(json.dumps(first.values())))
    assert same(dict(second.tensors()), dict(first.tensors()))
    assert second.values() == first.values()
    assert second.rate(4) == first.rate(4)
    assert take(second, 4) == take(first, 4)
    assert same(state(second.task.model), state(first.task.model))


@each
def test_callbacks_come_in_their_order(name: str, kind: str, loss: str) -> None:
    recorder = Recorder()
    run(trainer(name, kind, loss), callbacks=[recorder])
    first, *events, last = recorder.events
    assert (first, last) == (("start", "train", 6, 1, N), ("end", "all epochs"))
    for epoch in range(1, 7):
        own = [event for event in events if event[1] == epoch]
        events = events[len(own) :] if events[: len(own)] == own else events
        *steps, end = own
        assert end == ("epoch", epoch)
        done = [pairs for _, _, pairs in steps]
        assert done == sorted(done)
        assert done[-1] == N
    assert not events, "epochs are mixed"


@each
def test_training_stops_early_with_the_best_weights(name: str, kind: str, loss: str) -> None:
    made, validator, recorder = trainer(name, kind, loss, patience=2), Scripted([3, 1, 2, 2, 0]), Recorder()
    outcome = run(made, validator, callbacks=[recorder])
    assert recorder.events[-1] == ("end", "early stopping")
    assert (outcome.best_epoch, len(outcome.history)) == (2, 4)
    assert same(state(made.task.model), validator.seen[1])
    assert same(validator.seen[1], validator.seen[3]) == made.at_once


@each
def test_a_refit_takes_the_rates_of_the_run_before(name: str, kind: str, loss: str) -> None:
    rates = run(trainer(name, kind, loss), Scripted([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).rates
    assert run(trainer(name, kind, loss), rates=rates).rates == rates
    assert all(rate == 0.0 for rate in rates) == OF[name].solves


@each
def test_a_loss_that_is_not_finite_ends_training_with_advice(name: str, kind: str, loss: str) -> None:
    made = trainer(name, kind, loss)
    if made.at_once:  # whatever the weights are
        made.task.pairs.label[:] = np.nan
        made = OF[name](made.task, made.config)
    with torch.no_grad():
        for weight in made.task.model.parameters():
            weight.fill_(np.nan)
    with pytest.raises(TrainingError, match=r"the loss must stay finite; got nan.*(objective|training)\."):
        run(made)


@pytest.mark.parametrize(("name", "kind", "loss"), EVERY)
def test_what_a_trainer_does_not_train_is_refused(name: str, kind: str, loss: str) -> None:
    for normalise in (False, True):
        model = TOWERS.get(kind).Config(normalise=normalise)
        given: dict[str, Any] = {"kind": kind, "objective": loss, "normalise": normalise, "trainer": name}
        if OF[name].trains(model, OBJECTIVES.get(loss).Config()):
            assert isinstance(tt.TwoTower(**given).training, OF[name].Config)
        else:
            able = [one for one in OF if OF[one].trains(model, OBJECTIVES.get(loss).Config())]
            refused = f"'{name}' can't train" if able else "no trainer can train"
            fix = " or ".join(map(repr, able)) or "(objective '|other towers)"
            with pytest.raises(ConfigError, match=f"{refused} towers of kind '{kind}'.*; use {fix}"):
                tt.TwoTower(**given)


@each
def test_settings_are_resolved_and_can_be_searched(name: str, kind: str, loss: str) -> None:
    made = trainer(name, kind, loss)
    values = made.config.model_dump(exclude={"trainer", "device", "batch_size"})
    assert "auto" not in values.values()
    assert set(OF[name].searched(made.task.settings)) <= set(type(made.config).model_fields)


def test_a_class_is_enough_and_a_missing_one_is_one_error(tmp_path: Path) -> None:
    with TRAINERS.temporarily():
        made = tt.TwoTower(objective="huber", trainer=Unlisted, learning_rate=0.25)
        assert isinstance(made.training, DescentConfig)
        assert (made.training.trainer, made.training.learning_rate) == (f"{__name__}:Unlisted", 0.25)
        assert made.get_params()["learning_rate"] == 0.25
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\nsource = "kuairec-sample"\n[training]\ntrainer = "gone:Trainer"\n', encoding="utf-8"
    )
    with pytest.raises(
        ConfigError, match="trainer 'gone:Trainer' is a class that this program doesn't have; import"
    ):
        load_config(config)


class Unlisted(Descent):
    """A trainer that is registered nowhere."""
