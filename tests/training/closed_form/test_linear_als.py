"""`LinearALS`: decrease of the loss, the optimum, the effect of features, and resuming."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
import torch

from twotower.features import Codes, EncodedSide
from twotower.kernels import least_squares
from twotower.kernels.pairs import Pairs
from twotower.objectives import AllPairs
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.linear import LinearConfig
from twotower.training import TrainingTask
from twotower.training.closed_form.linear_als import LinearALS

N_USERS, N_ITEMS, N = 20, 15, 120
MASS, STRENGTH = 3.0, 0.05
CELL = MASS * N / (N_USERS * N_ITEMS)


def side(n: int, *, coded: bool = True) -> SideArrays:
    blocks = {"c": Codes((np.arange(n) % 4).astype(np.int32), 4)} if coded else {}
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, N_USERS, N), rng.integers(0, N_ITEMS, N)
    target = rng.uniform(0.4, 1.0, N).astype(np.float32)
    return Pairs.from_arrays(user.astype(np.int32), item.astype(np.int32), target, None, n_users=N_USERS)


def solver(
    model: TwoTowerModel,
    users: SideArrays,
    items: SideArrays,
    train: Pairs,
    objective: AllPairs,
    penalty: float,
) -> LinearALS:
    task = TrainingTask(model, users, items, train, objective.on(train), AllPairs.Config(), penalty, seed=0)
    return LinearALS(task, LinearALS.Config())


def made(*, coded: bool = True, members: int = 1, power: float = 0.0) -> tuple[TwoTowerModel, LinearALS]:
    users, items = side(N_USERS, coded=coded), side(N_ITEMS, coded=coded)
    config = LinearConfig(dim=6 * members, ensemble_size=members)
    model = TwoTowerModel(users.shape, items.shape, N_USERS, N_ITEMS, config, seed=1)
    return model, solver(model, users, items, pairs(), AllPairs(MASS, power), STRENGTH)


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("members", [1, 2])
def test_the_loss_falls_and_is_that_of_all_pairs(members: int, power: float) -> None:
    model, solving = made(members=members, power=power)
    losses = [solving.solve(model) for _ in range(8)]
    model.eval()
    assert losses[-1] < losses[0]
    p = pairs()
    U = model.user_vectors(side(N_USERS)).detach()
    V = model.item_vectors(side(N_ITEMS)).detach()
    expected = [
        AllPairs(MASS, power).on(p)(u.contiguous(), v.contiguous(), p).loss
        for u, v in zip(model.members(U), model.members(V), strict=True)
    ]
    npt.assert_allclose(losses[-1], np.mean(expected), rtol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_each_user_is_the_minimiser_of_its_own_least_squares(
    monkeypatch: pytest.MonkeyPatch, power: float
) -> None:
    """Against the normal equations, with regularisation towards the mean for users without features."""
    monkeypatch.setattr(least_squares.solve_rows, "__defaults__", (20,))
    model, solving = made(coded=False, power=power)
    for _ in range(200):
        solving.solve(model)
    users, items = solving.vectors(model).values()
    V = items[:, :-1]
    p, ridge = pairs(), solving.squares.ridge["users"].astype(np.float64)
    counts = np.bincount(p.user, minlength=N_USERS)
    cell = CELL * counts**power / np.mean(counts**power)
    mean = np.average(users[:, :-1], axis=0, weights=ridge)
    for user in range(N_USERS):
        own = V[p.item[p.user == user]].astype(np.float64)
        left = own.T @ own + cell[user] * V.T @ V + ridge[user] * np.eye(4)
        right = own.T @ p.label[p.user == user] + ridge[user] * mean
        npt.assert_allclose(users[user, :-1], np.linalg.solve(left, right), atol=2e-3)


def test_biases_stay_at_zero() -> None:
    model, solving = made(members=2)
    solving.solve(model)
    for tower, n in ((model.users, N_USERS), (model.items, N_ITEMS)):
        out = tower.eval()(side(n)).detach().numpy()
        npt.assert_array_equal(out[:, [4, 9]], 0.0)


def test_an_epoch_depends_on_the_model_alone() -> None:
    """So that a resumed run is bitwise equal to an uninterrupted one."""
    model, solving = made()
    for _ in range(3):
        solving.solve(model)
    other, fresh = made()
    other.load_state_dict(model.state_dict())
    assert solving.solve(model) == fresh.solve(other)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_who_has_no_pairs_is_what_the_features_say() -> None:
    """Even users have even items; for a cold item, only the code says which it is."""
    n = 40
    rng = np.random.default_rng(0)
    user, item = (x.reshape(-1) for x in np.mgrid[:n, :n])
    taken = ((user % 2) == (item % 2)) & (rng.random(n * n) < 0.3)
    user, item = user[taken].astype(np.int32), item[taken].astype(np.int32)
    blocks = {"c": Codes((2 + np.arange(n) % 2).astype(np.int32), 4)}
    arrays = SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))
    model = TwoTowerModel(arrays.shape, arrays.shape, n, n, LinearConfig(dim=6, ensemble_size=1), seed=1)
    given = Pairs.from_arrays(user, item, np.ones(len(user), np.float32), None, n_users=n)
    solving = solver(model, arrays, arrays, given, AllPairs(0.6 * n * n / len(user)), 0.05)
    for _ in range(6):
        solving.solve(model)
    cold = SideArrays.pack(
        EncodedSide(np.zeros(2, np.int32), {"c": Codes(np.array([2, 3], np.int32), 4)}), torch.device("cpu")
    )
    scores = model.encode(cold, "users").numpy() @ model.encode(arrays, "items").numpy().T
    assert scores[0, ::2].min() > scores[0, 1::2].max()
    assert scores[1, 1::2].min() > scores[1, ::2].max()
