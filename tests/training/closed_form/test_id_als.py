"""`IdALS`: decrease of the loss, the users' exact optimum, and what it does not change."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch

from twotower.features import Codes, EncodedSide
from twotower.kernels import least_squares
from twotower.kernels.pairs import Pairs
from twotower.objectives import AllPairs
from twotower.objectives.objective import CellWeight
from twotower.objectives.penalty import penalty_shares
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.mlp import MLPConfig
from twotower.training import CallbackList, Gradients, GradientsConfig, Loop, TrainingTask
from twotower.training.closed_form.id_als import IdALS
from twotower.training.closed_form.pair_squares import PairSquares

N_USERS, N_ITEMS, N = 20, 15, 120
MASS, STRENGTH = 3.0, 0.05
CELL = MASS * N / (N_USERS * N_ITEMS)


def side(n: int) -> SideArrays:
    codes = Codes((np.arange(n) % 4).astype(np.int32), 4)
    return SideArrays.pack(
        EncodedSide(np.arange(1, n + 1, dtype=np.int32), {"c": codes}), torch.device("cpu")
    )


def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, N_USERS, N), rng.integers(0, N_ITEMS, N)
    target = rng.uniform(0.4, 1.0, N).astype(np.float32)
    return Pairs.from_arrays(user.astype(np.int32), item.astype(np.int32), target, None, n_users=N_USERS)


def towers(**settings: Any) -> TwoTowerModel:
    config = MLPConfig(**{"dim": 8, "hidden": (8,), "embedding_dim": 2, "ensemble_size": 1, **settings})
    return TwoTowerModel(side(N_USERS).shape, side(N_ITEMS).shape, N_USERS, N_ITEMS, config, seed=1)


def loss(model: TwoTowerModel) -> float:
    """The mean over pairs and over cells, and the ridge around the features' prediction, over all members."""
    p = pairs()
    total = 0.0
    with torch.no_grad():
        model.eval()
        U, V = model.user_vectors(side(N_USERS)).double(), model.item_vectors(side(N_ITEMS)).double()
        for u, v in zip(model.members(U), model.members(V), strict=True):
            total += AllPairs(MASS)(u.contiguous(), v.contiguous(), p).loss
    for table, rows in ((model.users.ids, p.user), (model.items.ids, p.item)):
        counts = np.bincount(rows, minlength=len(table.weight))
        share = counts * penalty_shares(counts) / N
        total += STRENGTH * float(share @ table.weight.detach().double().square().sum(dim=1).numpy())
    return total


def alternating() -> IdALS:
    return IdALS(PairSquares(pairs(), N_ITEMS, CellWeight(CELL), STRENGTH), side(N_USERS), side(N_ITEMS))


@pytest.mark.parametrize("members", [1, 2])
def test_every_round_lowers_the_loss(members: int) -> None:
    model = towers(ensemble_size=members)
    losses = [loss(model)]
    for _ in range(6):
        alternating().solve(model)
        losses.append(loss(model))
    assert all(later <= before + 1e-6 for before, later in itertools.pairwise(losses))
    assert losses[-1] < 0.8 * losses[0]


def test_the_users_end_at_their_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(least_squares.solve_rows, "__defaults__", (20,))
    model = towers()
    alternating().solve(model)
    best = loss(model)
    rng = np.random.default_rng(0)
    for _ in range(20):
        moved = towers()
        moved.load_state_dict(model.state_dict())
        step = torch.from_numpy(rng.normal(size=moved.users.ids.weight.shape).astype(np.float32)) * 0.02
        moved.users.ids.weight.data += step
        assert loss(moved) > best


def test_towers_are_left_alone_and_mode_kept() -> None:
    model = towers().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    alternating().solve(model)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == (not name.endswith("ids.weight")), name


def test_in_training_ids_are_moved_by_it_alone() -> None:
    config = GradientsConfig(epochs=3, batch_size=60, learning_rate=0.02, threads=1, id_dropout=0.5)
    model = towers()
    settings = AllPairs.Config()
    task = TrainingTask(
        model, side(N_USERS), side(N_ITEMS), pairs(), AllPairs(MASS), settings, STRENGTH, seed=0
    )
    trainer = Gradients(task, config)
    solver = trainer.ids
    assert solver is not None
    seen: list[torch.Tensor] = []
    solve = solver.solve

    def watched(model: TwoTowerModel) -> None:
        seen.append(model.users.ids.weight.detach().clone())
        solve(model)
        seen.append(model.users.ids.weight.detach().clone())

    solver.solve = watched  # type: ignore[method-assign]
    first = model.users.ids.weight.detach().clone()
    Loop(trainer, "train", "mark", None, CallbackList()).run(None, epochs=3)
    assert len(seen) == 6
    npt.assert_array_equal(seen[0].numpy(), first.numpy())
    for after, before in ((1, 2), (3, 4)):
        npt.assert_array_equal(seen[after].numpy(), seen[before].numpy())
    assert not torch.equal(seen[0], seen[1])
