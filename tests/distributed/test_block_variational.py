"""`BlockVariational`: the same vectors as `Variational`, for any number of workers, and after losing some."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
import torch
from local_team import LocalTeam

from twotower.distributed.variational import BlockVariational
from twotower.errors import TwoTowerWarning
from twotower.features import Codes, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Squared
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.linear import LinearConfig
from twotower.training import CallbackList, TrainingTask
from twotower.training.closed_form.variational import Variational


def side(n: int, *, coded: bool) -> SideArrays:
    blocks = {"c": Codes((np.arange(n) % 4).astype(np.int32), 4)} if coded else {}
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


def task(
    *, users: int = 50, items: int = 20, weighted: bool = False, members: int = 1, coded: bool = True
) -> TrainingTask:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, users, 400), (items * rng.random(400) ** 2).astype(np.int64)
    weight = rng.uniform(0.2, 2.0, 400).astype(np.float32) if weighted else None
    label = 3.0 + rng.normal(size=users)[user] + rng.normal(size=items)[item] + rng.normal(size=400)
    pairs = Pairs.from_arrays(user, item, label, weight, n_users=users)
    sides = side(users, coded=coded), side(items, coded=coded)
    config = LinearConfig(dim=6 * members, ensemble_size=members)
    model = TwoTowerModel(sides[0].shape, sides[1].shape, users, items, config, seed=1, mean=3.0)
    return TrainingTask(model, *sides, pairs, Squared(), Squared.Config(), 0.13, seed=0)


def trained(trainer: Variational) -> tuple[list[float], list[np.ndarray]]:
    """Return the losses of three rounds, the vectors of both sides, and the state beside them."""
    losses = [trainer.epoch(number, CallbackList()) for number in (1, 2, 3)]
    state = [tensor.numpy() for tensor in trainer.tensors().values()]
    return losses, [*trainer.vectors(trainer.task.model).values(), *state]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "data",
    [{}, {"weighted": True, "members": 2}, {"coded": False}, {"users": 20, "items": 50}],
    ids=["plain", "weighted ensemble", "without features", "more items than users"],
)
def test_the_vectors_and_losses_are_those_of_one_machine(data: dict[str, int], workers: int) -> None:
    losses, vectors = trained(Variational(task(**data), Variational.Config()))
    found, in_blocks = trained(BlockVariational.on(LocalTeam(workers), task(**data), Variational.Config()))
    npt.assert_allclose(found, losses, rtol=1e-4)
    for one, other in zip(in_blocks, vectors, strict=True):
        npt.assert_allclose(one, other, atol=1e-4)


def test_a_lost_worker_changes_nothing() -> None:
    with_all = LocalTeam(2)
    losses, vectors = trained(BlockVariational.on(with_all, task(), Variational.Config()))
    for call in range(1, with_all.calls, 29):
        with pytest.warns(TwoTowerWarning, match="a worker was lost"):
            found, again = trained(
                BlockVariational.on(LocalTeam(2, losses=(call,)), task(), Variational.Config())
            )
        assert found == losses
        assert all(np.array_equal(one, other) for one, other in zip(again, vectors, strict=True))


def test_a_restored_trainer_goes_on_with_another_number_of_workers() -> None:
    whole, parts = task(), task()
    expected = trained(BlockVariational.on(LocalTeam(3), whole, Variational.Config()))
    first = BlockVariational.on(LocalTeam(3), parts, Variational.Config())
    first.epoch(1, CallbackList())
    second = BlockVariational.on(LocalTeam(2), parts, Variational.Config())
    second.restore(first.tensors(), first.values())
    losses = [second.epoch(number, CallbackList()) for number in (2, 3)]
    npt.assert_allclose(losses, expected[0][1:], rtol=1e-4)
