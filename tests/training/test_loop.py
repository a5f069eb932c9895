"""The training loop on a small model: learning, best weights, stopping and errors."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch

from twotower.errors import TrainingError
from twotower.evaluation.epochs import EpochValidator
from twotower.features import Codes, Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Objective, PairLoss, Squared
from twotower.objectives.penalty import FREQUENCY_POWER
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.mlp import MLPConfig
from twotower.training import (
    Callback,
    CallbackList,
    Checkpoint,
    Gradients,
    GradientsConfig,
    Interrupted,
    Loop,
    Outcome,
    Record,
    TrainingTask,
    checkpoint,
)

CPU = torch.device("cpu")
N_USERS, N_ITEMS, N = 12, 9, 400


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The steps here are too small for several threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def side(n: int, seed: int) -> SideArrays:
    rng = np.random.default_rng(seed)
    blocks: dict[str, Any] = {
        "x": Dense(rng.normal(size=(n, 3)).astype(np.float32)),
        "c": Codes(rng.integers(0, 4, n).astype(np.int32), 4),
    }
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), CPU)


USERS, ITEMS = side(N_USERS, 0), side(N_ITEMS, 1)


def pairs() -> Pairs:
    rng = np.random.default_rng(2)
    user, item = rng.integers(0, N_USERS, N).astype(np.int32), rng.integers(0, N_ITEMS, N).astype(np.int32)
    target = np.sin(user + 2.0 * item).astype(np.float32)
    return Pairs.from_arrays(user, item, target, None, n_users=N_USERS)


def trainer(
    *,
    objective: Objective | None = None,
    penalty: float = 0.0,
    model: dict[str, Any] | None = None,
    seed: int = 0,
    **training: Any,
) -> Gradients:
    settings = GradientsConfig(
        **{"epochs": 6, "batch_size": 100, "learning_rate": 0.02, "threads": 1, **training}
    )
    config = MLPConfig(**{"dim": 6, "hidden": (5,), "embedding_dim": 2, **(model or {})})
    towers = TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, config, seed)
    task = TrainingTask(
        towers, USERS, ITEMS, pairs(), objective or Squared(), Squared.Config(), penalty, seed
    )
    return Gradients(task, settings)


def state(made: Gradients) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in made.task.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


class Scripted(EpochValidator):
    """A validator that gives these losses one after the other, and looks at the model if told how."""

    by = "validation_loss"

    def __init__(
        self, losses: list[float], look: Callable[[TwoTowerModel], None] = lambda model: None
    ) -> None:
        self.rest, self.look = iter(losses), look

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        self.look(model)
        return {"validation_loss": next(self.rest)}


class Prized(Scripted):
    """The same, but the more the better."""

    higher_is_better = True


def run(
    made: Gradients,
    losses: list[float] | EpochValidator | None = None,
    *,
    checkpoints: Path | None = None,
    callbacks: CallbackList | None = None,
    mark: str = "this run",
    **options: Any,
) -> Outcome:
    loop = Loop(made, "train", mark, checkpoints, callbacks or CallbackList())
    validator = Scripted(losses) if isinstance(losses, list) else losses
    return loop.run(validator, **{"epochs": made.config.epochs, **options})


class Recorder(Callback):
    """Keeps every event; does something at one of them, if told so."""

    def __init__(self, at: Callable[[str, Any], None] = lambda event, detail: None) -> None:
        self.events: list[tuple[str, Any]] = []
        self.at = at

    def note(self, event: str, detail: Any) -> None:
        self.events.append((event, detail))
        self.at(event, detail)

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        self.note("start", (phase, epochs, first_epoch, pairs))

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        self.note("step", (epoch, pairs_done, loss))

    def on_epoch_end(self, record: Record) -> None:
        self.note("epoch", record)

    def on_phase_end(self, *, reason: str) -> None:
        self.note("end", reason)


def test_the_loss_falls_and_the_history_tells_it() -> None:
    made = trainer(epochs=20)
    outcome = run(made)
    losses = [record["train_loss"] for record in outcome.history]
    assert len(losses) == 20
    assert losses[-1] < 0.3 * losses[0]
    assert [record["epoch"] for record in outcome.history] == list(range(1, 21))
    assert outcome.best_epoch == 20, "without validation every epoch is the best so far"
    assert outcome.rates == [0.02] * 20
    assert {record["phase"] for record in outcome.history} == {"train"}
    assert all(record["pairs_per_second"] > 0 for record in outcome.history)


def test_what_a_callback_hears() -> None:
    heard = Recorder()
    made = trainer(epochs=2)
    run(made, [2.0, 1.0], callbacks=CallbackList([heard]))
    names = [name for name, _ in heard.events]
    assert names == ["start", *["step"] * 4, "epoch", *["step"] * 4, "epoch", "end"]
    assert heard.events[0][1] == ("train", 2, 1, N)
    assert heard.events[-1][1] == "all epochs"
    assert heard.events[4][1][:2] == (1, N)
    assert heard.events[4][1][2] == heard.events[5][1]["train_loss"]
    assert heard.events[5][1]["validation_loss"] == 2.0


def test_the_train_loss_is_the_mean_over_pairs() -> None:
    class One(Squared):
        def __call__(self, U: torch.Tensor, V: torch.Tensor, pairs: Pairs, **given: Any) -> Any:
            return super().__call__(U, V, pairs, **given)._replace(loss=float(pairs.label.mean()))

    outcome = run(trainer(objective=One(), epochs=1))
    assert outcome.history[0]["train_loss"] == pytest.approx(float(pairs().label.mean()), rel=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    states = []
    for seed in (0, 0, 1):
        made = trainer(seed=seed, id_dropout=0.3, model={"dropout": 0.3})
        run(made)
        states.append(state(made))
    assert same(states[0], states[1])
    assert not same(states[0], states[2])


@pytest.mark.parametrize(
    ("validator", "values"), [(Scripted, [3.0, 2.0, 1.0, 4.0, 4.0]), (Prized, [1, 2, 3, 0, 0])]
)
def test_the_best_epochs_weights_are_kept(validator: type[Scripted], values: list[float]) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    made = trainer(epochs=5)

    def look(model: TwoTowerModel) -> None:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})

    outcome = run(made, validator(values, look))
    assert outcome.best_epoch == 3
    assert [record["best"] for record in outcome.history] == [True, True, True, False, False]
    assert same(state(made), seen[2])
    assert not same(seen[2], seen[4])


def test_early_stopping() -> None:
    heard = Recorder()
    outcome = run(
        trainer(epochs=50, patience=3), [5.0, 4.0, 4.5, 4.5, 4.5, 0.0], callbacks=CallbackList([heard])
    )
    assert len(outcome.history) == 5
    assert outcome.best_epoch == 2
    assert heard.events[-1] == ("end", "early stopping")


def test_a_plateau_cuts_the_rate_that_steps_are_taken_at() -> None:
    made = trainer(epochs=4, plateau_patience=1, plateau_factor=0.1)
    taken: list[float] = []
    step = made.step

    def spy(batch: Any, rate: float) -> float:
        taken.append(rate)
        return step(batch, rate)

    made.step = spy  # type: ignore[method-assign]
    outcome = run(made, [1.0, 2.0, 2.0, 2.0])
    assert outcome.rates == pytest.approx([0.02, 0.02, 0.002, 0.0002])
    assert taken == pytest.approx(np.repeat(outcome.rates, 4))


def test_cosine_falls_step_by_step() -> None:
    made = trainer(epochs=3, schedule="cosine")
    taken: list[float] = []
    step = made.step

    def spy(batch: Any, rate: float) -> float:
        taken.append(rate)
        return step(batch, rate)

    made.step = spy  # type: ignore[method-assign]
    run(made)
    expected = [0.01 * (1 + math.cos(math.pi * at / 12)) for at in range(12)]
    assert taken == pytest.approx(expected)


def test_given_rates_are_replayed() -> None:
    outcome = run(trainer(epochs=9), epochs=3, rates=[0.03, 0.01, 0.02])
    assert outcome.rates == [0.03, 0.01, 0.02]


# settings


def test_a_rate_of_next_to_nothing_moves_next_to_nothing() -> None:
    made = trainer(learning_rate=1e-12)
    before = state(made)
    run(made)
    assert all(torch.allclose(before[name], after, atol=1e-8) for name, after in state(made).items())


def test_clipping_shortens_the_gradient_of_the_layers() -> None:
    lengths = []
    for clip in (None, 1e-3):
        made = trainer(clip_norm=clip)
        batch = next(made.batcher.epoch(1))
        made.task.model.train()
        made.step(batch, 0.01)
        lengths.append(
            math.sqrt(sum(float(p.grad.square().sum()) for p in made.layers if p.grad is not None))
        )
    assert lengths[0] > 0.05
    assert lengths[1] == pytest.approx(1e-3, rel=1e-2)


def test_weight_decay_shrinks_the_layers_by_its_share() -> None:
    weights = []
    for decay in (0.0, 0.5):
        made = trainer(weight_decay=decay, id_dropout=0.0, model={"dropout": 0.0})
        before = state(made)
        made.task.model.train()
        made.step(next(made.batcher.epoch(1)), 0.1)
        weights.append(state(made))
    layer, ids = "users.from_numbers.weight", "users.ids.weight"
    assert torch.allclose(weights[0][layer] - weights[1][layer], before[layer] * 0.1 * 0.5, atol=1e-6)
    assert torch.equal(weights[0][ids], weights[1][ids])


def test_the_penalty_makes_vectors_shorter() -> None:
    lengths = []
    for penalty in (0.0, 0.05, 0.5):
        made = trainer(penalty=penalty, epochs=12)
        run(made)
        lengths.append(float(made.task.model.encode(USERS, "users")[:, :-2].norm()))
    assert lengths[0] > lengths[1] > lengths[2]


class Nothing(Squared):
    """An objective without gradients: all updates come from the penalty."""

    def __call__(self, U: torch.Tensor, V: torch.Tensor, pairs: Pairs, **given: Any) -> Any:
        return PairLoss(0.0, torch.zeros_like(U), torch.zeros_like(V))


@pytest.mark.parametrize("whole", [True, False])
def test_the_penalty_of_an_epoch_by_hand(whole: bool) -> None:
    made = trainer(
        objective=Nothing(), penalty=0.7, id_dropout=0.0, model={"dropout": 0.0}, learning_rate=1e-12
    )
    if not whole:
        made.batcher.every_query = made.batcher.every_item = False
        made.batcher._stamp = np.full(N_ITEMS, -1, dtype=np.int32)
    model = made.task.model.train()
    found = {"users": torch.zeros(N_USERS, 5), "items": torch.zeros(N_ITEMS, 5)}
    for batch in made.batcher.epoch(1):
        made.step(batch, 1e-12)
        for which, tower in (("users", model.users), ("items", model.items)):
            assert tower.ids.weight.grad is not None
            found[which] += len(batch.pairs) / N * tower.ids.weight.grad.to_dense()
    for side, which, rows in ((USERS, "users", pairs().user), (ITEMS, "items", pairs().item)):
        weight = np.bincount(rows).astype(float) ** FREQUENCY_POWER
        vectors = made.task.model.encode(side, which)[:, :-2].numpy()
        expected = 2 * 0.7 * (weight / weight.sum())[:, None] * vectors
        assert found[which][:, :-1].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6)
        assert not found[which][:, -1].any(), "biases change less"


def test_every_member_has_a_loss_and_a_penalty_of_its_own() -> None:
    options: dict[str, Any] = {
        "ensemble_size": 2,
        "dim": 12,
        "hidden": (6,),
        "dropout": 0.0,
    }
    made = trainer(penalty=0.7, clip_norm=None, batch_size=N, id_dropout=0.0, model=options)
    (batch,) = made.batcher.epoch(1)
    user = torch.from_numpy(np.repeat(np.arange(N_USERS), np.diff(batch.pairs.indptr)))
    item, label = torch.from_numpy(batch.pairs.item).long(), torch.from_numpy(batch.pairs.label)
    made.task.model.train()
    U, V = made.task.model.user_vectors(USERS), made.task.model.item_vectors(ITEMS)
    losses, total = [], torch.zeros(())
    for member in (slice(0, 6), slice(6, 12)):
        u, v = U[:, member], V[:, member]
        loss = ((u[user] * v[item]).sum(1) - label).square().mean()
        losses.append(float(loss.detach()))
        total = total + loss
        for vectors, rows in ((u, user), (v, item)):
            weight = torch.bincount(rows).float() ** FREQUENCY_POWER
            total = total + 0.7 * (weight / weight.sum()) @ vectors[:, :-2].square().sum(1)
    total.backward()
    expected = [parameter.grad.clone() for parameter in made.layers if parameter.grad is not None]
    assert len(expected) == len(made.layers)
    assert made.step(batch, 0.01) == pytest.approx(np.mean(losses), rel=1e-5)
    for parameter, gradient in zip(made.layers, expected, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, gradient, rtol=1e-3, atol=1e-6)


def test_a_step_reports_the_loss_before_it() -> None:
    made = trainer(id_dropout=0.0, model={"dropout": 0.0}, penalty=0.3)
    batch = next(made.batcher.epoch(1))
    U, V = made.task.model.encode(USERS, "users").numpy(), made.task.model.encode(ITEMS, "items").numpy()
    assert batch.queries is None
    user = np.repeat(np.arange(N_USERS), np.diff(batch.pairs.indptr))
    expected = np.mean(((U[user] * V[batch.pairs.item]).sum(axis=1) - batch.pairs.label) ** 2)
    made.task.model.train()
    assert made.step(batch, 0.01) == pytest.approx(float(expected), rel=1e-4)


def test_distinct_rows_and_whole_sides_train_alike() -> None:
    results = []
    for whole in (True, False):
        made = trainer(id_dropout=0.0, model={"dropout": 0.0}, penalty=0.1, epochs=3)
        if not whole:
            made.batcher.every_query = made.batcher.every_item = False
            made.batcher._stamp = np.full(N_ITEMS, -1, dtype=np.int32)
        run(made)
        results.append(state(made))
    for name, value in results[0].items():
        assert torch.allclose(value, results[1][name], atol=1e-4), name


# errors


class Broken(Squared):
    """Squared loss, until a step whose loss is not finite."""

    def __init__(self, at: int, value: float) -> None:
        self.__dict__.update(left=at, value=value)

    def __call__(self, U: torch.Tensor, V: torch.Tensor, pairs: Pairs, **given: Any) -> Any:
        self.__dict__["left"] -= 1
        result = super().__call__(U, V, pairs, **given)
        return result._replace(loss=self.__dict__["value"]) if self.__dict__["left"] == 0 else result


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_training_with_a_fix(value: float, tmp_path: Path) -> None:
    made = trainer(objective=Broken(7, value))
    message = rf"the loss must stay finite; got {value} in epoch 2 at .*0\.02\. Lower training\.learning_rate"
    with pytest.raises(TrainingError, match=message):
        run(made, checkpoints=tmp_path)
    found = Checkpoint.read(tmp_path)
    assert found is not None
    assert found.meta["epoch"] == 1


def test_labels_that_overflow_are_a_training_error() -> None:
    made = trainer()
    made.batcher.pairs.label[:] = 3e38
    with pytest.raises(TrainingError, match="must stay finite"):
        run(made)


def test_a_validation_loss_that_is_not_finite_ends_training() -> None:
    with pytest.raises(TrainingError, match="the validation loss must stay finite; got nan in epoch 2"):
        run(trainer(), [1.0, math.nan])


# interruption and checkpoints


def interrupt(event: str, epoch: int) -> Callback:
    def at(name: str, detail: Any) -> None:
        if name == event and (
            detail[0] == epoch and detail[1] > 150 if name == "step" else detail["epoch"] == epoch
        ):
            raise KeyboardInterrupt

    return Recorder(at)


def test_an_interrupt_is_told_and_leaves_the_last_whole_epoch(tmp_path: Path) -> None:
    heard = interrupt("step", 3)
    with pytest.raises(Interrupted, match="the last complete epoch is saved"):
        run(trainer(), checkpoints=tmp_path, callbacks=CallbackList([heard]))
    assert heard.events[-1] == ("end", "interrupted")  # type: ignore[attr-defined]
    found = Checkpoint.read(tmp_path)
    assert found is not None
    assert found.meta["epoch"] == 2
    assert [record["epoch"] for record in found.meta["history"]] == [1, 2]


@pytest.mark.parametrize("schedule", ["plateau", "cosine", "constant"])
@pytest.mark.parametrize(("event", "epoch"), [("step", 1), ("epoch", 2), ("step", 4), ("epoch", 6)])
def test_a_resumed_run_has_the_bits_of_an_unbroken_one(
    event: str, epoch: int, schedule: str, tmp_path: Path
) -> None:
    losses = [6.0, 4.0, 5.0, 5.0, 3.0, 9.0]
    options: dict[str, Any] = {
        "schedule": schedule,
        "plateau_patience": 1,
        "penalty": 0.1,
        "id_dropout": 0.3,
        "model": {"hidden": (5, 4), "shared_layers": True, "dropout": 0.3},
    }
    whole = trainer(**options)
    expected = run(whole, losses)
    with pytest.raises(Interrupted):
        run(
            trainer(**options),
            losses,
            checkpoints=tmp_path,
            callbacks=CallbackList([interrupt(event, epoch)]),
        )
    done = epoch - 1
    again = trainer(**options)
    heard = Recorder()
    found = run(again, losses[done:], checkpoints=tmp_path, resume=True, callbacks=CallbackList([heard]))
    assert heard.events[0][1][2] == epoch
    assert same(state(whole), state(again))
    assert (found.best_epoch, found.rates) == (expected.best_epoch, expected.rates)
    timeless = [
        [{k: v for k, v in r.items() if "second" not in k} for r in o.history] for o in (found, expected)
    ]
    assert timeless[0] == timeless[1]


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    whole = trainer()
    run(whole, [3.0, 1.0, 2.0, 2.0, 2.0, 2.0], checkpoints=tmp_path)
    again, heard = trainer(), Recorder()
    outcome = run(again, [], checkpoints=tmp_path, resume=True, callbacks=CallbackList([heard]))
    assert [name for name, _ in heard.events] == ["start", "end"]
    assert outcome.best_epoch == 2
    assert same(state(whole), state(again))


def test_an_early_stop_is_remembered(tmp_path: Path) -> None:
    run(trainer(patience=2), [1.0, 2.0, 2.0], checkpoints=tmp_path)
    heard = Recorder()
    outcome = run(trainer(patience=2), [], checkpoints=tmp_path, resume=True, callbacks=CallbackList([heard]))
    assert heard.events[-1] == ("end", "early stopping")
    assert len(outcome.history) == 3


def test_resuming_without_a_checkpoint_starts_from_the_beginning(tmp_path: Path) -> None:
    one, two = trainer(), trainer()
    run(one, resume=True, checkpoints=tmp_path / "none yet")
    run(two)
    assert same(state(one), state(two))


def test_without_resume_an_old_checkpoint_is_not_looked_at(tmp_path: Path) -> None:
    run(trainer(), checkpoints=tmp_path, mark="another run")
    one, two = trainer(), trainer()
    run(one, checkpoints=tmp_path)
    run(two)
    assert same(state(one), state(two))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(trainer(), checkpoints=tmp_path, mark="another run")
    with pytest.raises(TrainingError, match="from a run with other settings or other data"):
        run(trainer(), checkpoints=tmp_path, resume=True)


def some() -> Checkpoint:
    tensors = {"model.a": torch.randn(50, 3), "best.n": torch.tensor(4.0), "rows.e": torch.zeros(0, 3)}
    return Checkpoint(tensors, {"epoch": 3, "rate": 0.1 + 0.2, "name": "配置", "earlier": {}})


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    written = some()
    written.write(tmp_path / "a" / "b")
    found = Checkpoint.read(tmp_path / "a" / "b")
    assert found is not None
    assert same(found.tensors, written.tensors)
    assert found.meta == written.meta
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == [checkpoint.FILE]


def test_tensors_that_share_memory_are_written_once(tmp_path: Path) -> None:
    whole = torch.randn(100, 10)
    tensors = {"model.a": whole, "best.a": whole, "model.b": whole.T, "model.c": whole[2:5]}
    Checkpoint(tensors, {}).write(tmp_path)
    found = Checkpoint.read(tmp_path)
    assert found is not None
    assert same(found.tensors, tensors)
    assert (tmp_path / checkpoint.FILE).stat().st_size < 2.5 * whole.nbytes


def test_there_may_be_no_checkpoint(tmp_path: Path) -> None:
    assert Checkpoint.read(tmp_path) is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.999])
def test_a_truncated_checkpoint_is_a_training_error(share: float, tmp_path: Path) -> None:
    some().write(tmp_path)
    path = tmp_path / checkpoint.FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(TrainingError, match=r"could not read the checkpoint .* Delete it to start this run"):
        Checkpoint.read(tmp_path)


def test_a_file_that_is_no_checkpoint_is_a_training_error(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / checkpoint.FILE
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(TrainingError, match="could not read the checkpoint"):
        Checkpoint.read(tmp_path)
    path.write_bytes(b"{}" * 100)
    with pytest.raises(TrainingError, match="could not read the checkpoint"):
        Checkpoint.read(tmp_path)


@pytest.mark.parametrize("fails", ["save_file", "os.replace", "os.fsync"])
def test_a_full_disk_leaves_the_previous_checkpoint(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = some()
    first.write(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"twotower.training.checkpoint.{fails}", full)
        with pytest.raises(TrainingError, match="No space left on device; the previous one is intact"):
            some().write(tmp_path)
    found = Checkpoint.read(tmp_path)
    assert found is not None
    assert same(found.tensors, first.tensors)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.FILE]


def test_a_place_that_can_hold_no_checkpoint_is_a_training_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="could not write a checkpoint to"):
        some().write(tmp_path / "file" / "checkpoints")
