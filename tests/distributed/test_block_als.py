"""`BlockALS`: the same vectors as `LinearALS`, for any number of workers, and after losing some."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.testing as npt
import pytest
import torch
from local_team import LocalTeam

from twotower.distributed.als import BlockALS
from twotower.distributed.block import BlockSide
from twotower.errors import TrainingError, TwoTowerWarning
from twotower.features import Codes, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import AllPairs
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.linear import LinearConfig
from twotower.training import CallbackList, TrainingTask
from twotower.training.closed_form.linear_als import LinearALS

N_USERS, N_ITEMS, N = 60, 25, 400


def side(n: int) -> SideArrays:
    blocks = {"c": Codes((np.arange(n) % 4).astype(np.int32), 4)}
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


def task(*, weighted: bool = False, hard: float = 0.0, members: int = 1, power: float = 0.5) -> TrainingTask:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, N_USERS, N), (N_ITEMS * rng.random(N) ** 2).astype(np.int64)
    weight = rng.uniform(0.2, 2.0, N).astype(np.float32) if weighted else None
    pairs = Pairs.from_arrays(user, item, rng.uniform(0.4, 1.0, N), weight, n_users=N_USERS)
    users, items = side(N_USERS), side(N_ITEMS)
    config = LinearConfig(dim=6 * members, ensemble_size=members)
    model = TwoTowerModel(users.shape, items.shape, N_USERS, N_ITEMS, config, seed=1)
    settings = AllPairs.Config(hard_weight=hard, regularisation=0.3)
    return TrainingTask(model, users, items, pairs, AllPairs(3.0, power).on(pairs), settings, 0.05, seed=0)


def trained(trainer: LinearALS, epochs: int = 6) -> tuple[list[float], list[np.ndarray]]:
    """Return the losses and the vectors of both sides."""
    losses = [trainer.epoch(number, CallbackList()) for number in range(1, epochs + 1)]
    return losses, [trainer.vectors(trainer.model)[which] for which in ("users", "items")]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(
    "data",
    [{}, {"weighted": True, "members": 2}, {"hard": 0.1}, {"hard": 0.2, "weighted": True, "power": 0.0}],
    ids=["plain", "weighted", "hard", "hard weighted"],
)
def test_the_vectors_and_losses_are_those_of_one_machine(data: dict[str, float], workers: int) -> None:
    losses, vectors = trained(LinearALS(task(**data), LinearALS.Config()))
    found, in_blocks = trained(BlockALS.on(LocalTeam(workers), task(**data), LinearALS.Config()))
    npt.assert_allclose(found, losses, rtol=1e-5)
    for one, other in zip(in_blocks, vectors, strict=True):
        npt.assert_allclose(one, other, atol=1e-5)


def test_more_workers_than_rows() -> None:
    losses, _ = trained(LinearALS(task(), LinearALS.Config()))
    found, _ = trained(BlockALS.on(LocalTeam(N_ITEMS + 3), task(), LinearALS.Config()))
    npt.assert_allclose(found, losses, rtol=1e-5)


def test_a_remade_trainer_uses_the_same_blocks() -> None:
    first = BlockALS.on(LocalTeam(2), task(), LinearALS.Config())
    other, same = replace(task(), penalty=0.2), replace(task(), penalty=0.2)
    calls = first.blocks.team.calls
    again = first.remade(other, LinearALS.Config())
    assert first.blocks.team.calls == calls
    npt.assert_allclose(trained(again)[0], trained(LinearALS(same, LinearALS.Config()))[0], rtol=1e-5)
    again.set_regularisation(0.6)
    alone = LinearALS(same, LinearALS.Config())
    alone.model.load_state_dict(again.model.state_dict())
    alone.set_regularisation(0.6)
    npt.assert_allclose(trained(again)[0], trained(alone)[0], rtol=1e-5)


def test_a_lost_worker_changes_nothing() -> None:
    """Whenever it is lost: in each call of loading and of two rounds, one after the other."""
    with_all = LocalTeam(3)
    losses, vectors = trained(BlockALS.on(with_all, task(hard=0.1), LinearALS.Config()))
    for call in range(1, with_all.calls, 17):
        team = LocalTeam(3, losses=(call,))
        with pytest.warns(TwoTowerWarning, match="a worker was lost"):
            found, again = trained(BlockALS.on(team, task(hard=0.1), LinearALS.Config()))
        assert found == losses
        assert all(np.array_equal(one, other) for one, other in zip(again, vectors, strict=True))


def test_with_less_room_fewer_workers_go_on() -> None:
    losses, _ = trained(LinearALS(task(), LinearALS.Config()))
    team = LocalTeam(4, losses=(100,), room=3)
    with pytest.warns(TwoTowerWarning, match="a worker was lost"):
        found, _ = trained(BlockALS.on(team, task(), LinearALS.Config()))
    assert len(team.blocks) == 3
    npt.assert_allclose(found, losses, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::twotower.errors.TwoTowerWarning")
def test_workers_that_are_lost_again_and_again_are_an_error() -> None:
    with pytest.raises(TrainingError, match="lost 20 times in a row"):
        BlockALS.on(LocalTeam(2, losses=tuple(range(1000))), task(), LinearALS.Config())


def test_a_block_receives_each_vector_once_and_only_what_its_pairs_name() -> None:
    given = task()
    blocks = BlockALS.on(LocalTeam(3), given, LinearALS.Config()).blocks
    routed = blocks.routed()
    user, item = given.pairs.user, given.pairs.item
    for which, own, theirs in (("items", item, user), ("users", user, item)):
        sent = routed[which]
        there = np.searchsorted(blocks.bounds["users" if which == "items" else "items"], theirs, "right") - 1
        here = np.searchsorted(blocks.bounds[which], own, "right") - 1
        for source in range(3):
            for target in range(3):
                named = own[(here == source) & (there == target)]
                assert sent[source, target] == len(np.unique(named))


def test_blocks_have_about_as_many_pairs_each() -> None:
    blocks = BlockALS.on(LocalTeam(4), task(), LinearALS.Config()).blocks
    for which, of in blocks.bounds.items():
        pairs = np.add.reduceat(blocks.counts[which], of[:-1])
        assert pairs.max() <= N / 4 + blocks.counts[which].max()
    assert blocks.counts["items"].sum() == blocks.counts["users"].sum() == N


def test_rows_without_pairs_need_nothing() -> None:
    empty = BlockSide.of(3, Pairs.from_arrays([], [], [], n_users=2), n_other=9)
    assert (empty.n, len(empty.needed), empty.total) == (2, 0, 0.0)
