"""`Variational` against its explicit formulas in float64, and the effects of features and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch

from twotower.errors import TrainingError
from twotower.features import Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs
from twotower.objectives import Squared
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.linear import SCALE, LinearConfig
from twotower.training import TrainingTask
from twotower.training.closed_form import grouped_pairs, variational
from twotower.training.closed_form.variational import Variational

N_USERS, N_ITEMS, N = 13, 9, 70
PENALTY = 0.2
Matrix = np.ndarray[Any, Any]


def side(n: int, features: Matrix | None = None) -> SideArrays:
    blocks = {} if features is None else {"x": Dense(features.astype(np.float32))}
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


def pairs(weight: Matrix | None = None) -> Pairs:
    rng = np.random.default_rng(2)
    chosen = np.sort(rng.choice(N_USERS * N_ITEMS, N, replace=False))
    user, item = (chosen // N_ITEMS).astype(np.int32), (chosen % N_ITEMS).astype(np.int32)
    target = rng.normal(size=N).astype(np.float32)
    return Pairs.from_arrays(user, item, target, weight, n_users=N_USERS)


def solver_of(
    model: TwoTowerModel, users: SideArrays, items: SideArrays, train: Pairs, penalty: float
) -> Variational:
    task = TrainingTask(model, users, items, train, Squared(), Squared.Config(), penalty, seed=0)
    return Variational(task, Variational.Config())


def made(
    train: Pairs, members: int = 2, users: SideArrays | None = None, items: SideArrays | None = None
) -> tuple[TwoTowerModel, Variational]:
    users, items = users or side(train.n_users), items or side(int(train.item.max()) + 1)
    config = LinearConfig(dim=5 * members, ensemble_size=members)
    model = TwoTowerModel(users.shape, items.shape, users.rows, items.rows, config, seed=3, mean=0.25)
    return model, solver_of(model, users, items, train, PENALTY)


def by_the_book(model: TwoTowerModel, train: Pairs, rounds: int) -> tuple[Matrix, Matrix]:
    """The formulas in loops over rows and pairs, for rows without features, users first."""
    members = model.config.n_members
    width = model.users.width // members
    mean = [
        tower.ids.weight.detach().double().numpy().copy() * variational.START / SCALE
        for tower in (model.users, model.items)
    ]
    rows, n_rows = [train.user, train.item], [N_USERS, N_ITEMS]
    y = train.label.astype(float) - float(model.mean)
    given = np.ones(N) if train.weight is None else train.weight / train.weight.mean()
    lam = [PENALTY * N / n for n in n_rows]
    cov = [[np.zeros((n, width, width)) for n in n_rows] for _ in range(members)]
    weight, noise = given.copy(), 1.0
    for done in range(rounds):
        prior = [m.mean(axis=0) for m in mean]  # without features the prior mean is the constant
        before = [m.copy() for m in mean]
        spread = [[lam[k] * cov[m][k].mean(axis=0) for k in (0, 1)] for m in range(members)]
        for m in range(members):
            own = slice(m * width, (m + 1) * width)
            for k in (0, 1):  # the side with more rows first
                shape = np.eye(width)
                if done:
                    away = before[k][:, own] - prior[k][own]
                    shape = np.linalg.inv((lam[k] * away.T @ away / n_rows[k] + spread[m][k]) / noise)
                    shape /= np.linalg.det(shape) ** (1 / width)
                for row in range(n_rows[k]):
                    P = lam[k] * shape
                    right = lam[k] * shape @ prior[k][own]
                    for p in np.flatnonzero(rows[k] == row):
                        other = rows[1 - k][p]
                        z, C = mean[1 - k][other, own], cov[m][1 - k][other]
                        a = np.append(z[:-1], 1.0)
                        P = P + weight[p] * np.outer(a, a)
                        P[:-1, :-1] += weight[p] * C[:-1, :-1]
                        right = right + weight[p] * a * (y[p] - z[-1])
                        right[:-1] -= weight[p] * C[:-1, -1]
                    mean[k][row, own] = np.linalg.solve(P, right)
                    cov[m][k][row] = noise * np.linalg.inv(P)
        parts = [
            (mean[0][train.user, s : s + width], mean[1][train.item, s : s + width])
            for s in range(0, members * width, width)
        ]
        score = np.mean([(u[:, :-1] * v[:, :-1]).sum(1) + u[:, -1] + v[:, -1] for u, v in parts], axis=0)
        error = (score - y) ** 2
        everyone = (given * error).sum() / given.sum()
        variance = np.empty(N)
        for p, user in enumerate(train.user):
            mine = train.user == user
            summed = (given * error)[mine].sum() + grouped_pairs.SHRINK * everyone
            variance[p] = summed / (given[mine].sum() + grouped_pairs.SHRINK)
        weight = given / variance
        weight /= weight.mean()
        noise = (weight * error).mean()
    return mean[0], mean[1]


@pytest.mark.parametrize("rounds", [1, 2, 4])
@pytest.mark.parametrize(("members", "weighted"), [(1, False), (2, True)])
def test_the_vectors_are_those_of_the_formulas(members: int, weighted: bool, rounds: int) -> None:
    weight = np.random.default_rng(4).uniform(0.5, 2.0, N).astype(np.float32) if weighted else None
    train = pairs(weight)
    model, solver = made(train, members)
    expected = by_the_book(model, train, rounds)
    for _ in range(rounds):
        solver.solve(model)
    for found, wanted in zip(solver.vectors(model).values(), expected, strict=True):
        npt.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)


def test_the_loss_is_the_mean_squared_error_of_the_score() -> None:
    weight = np.random.default_rng(5).uniform(0.5, 2.0, N).astype(np.float32)
    train = pairs(weight)
    model, solver = made(train)
    loss = [solver.solve(model) for _ in range(3)][-1]
    U, V = (model.encode(solver.sides[which], which).numpy() for which in ("users", "items"))
    error = score_pairs(U, V, train.user, train.item) - train.label
    assert loss == pytest.approx(np.average(error**2, weights=weight), rel=1e-5)


def test_the_unit_of_weights_says_nothing() -> None:
    weight = np.random.default_rng(6).uniform(0.5, 2.0, N).astype(np.float32)
    found = []
    for scale in (1.0, 4.0):
        model, solver = made(pairs(weight * np.float32(scale)))
        solver.solve(model)
        solver.solve(model)
        found.append(solver.vectors(model))
    for which in ("users", "items"):
        npt.assert_allclose(found[0][which], found[1][which], rtol=1e-4, atol=1e-6)


def test_a_restored_solver_goes_on_to_the_same_bits() -> None:
    train = pairs()
    model, solver = made(train)
    solver.solve(model)
    solver.solve(model)
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: tensor.clone() for name, tensor in solver.tensors().items()}
    solver.solve(model)
    again, other = made(train)
    again.load_state_dict(kept)
    other.restore(state, {})
    other.solve(again)
    for name, tensor in model.state_dict().items():
        npt.assert_array_equal(tensor.numpy(), again.state_dict()[name].numpy())


def test_what_features_say_is_found_and_carries_rows_never_seen() -> None:
    """Labels are a user's taste times an item's features, and half of the items are held out."""
    rng = np.random.default_rng(7)
    n_users, n_items, seen = 60, 80, 40
    x, taste = rng.normal(size=(n_items, 3)), rng.normal(size=(n_users, 3))
    truth = taste @ x.T
    user, item = (part.ravel().astype(np.int32) for part in np.mgrid[:n_users, :seen])
    label = (truth[user, item] + 0.1 * rng.normal(size=len(user))).astype(np.float32)
    train = Pairs.from_arrays(user, item, label, None, n_users=n_users)
    users, items = side(n_users), side(seen, x[:seen])
    config = LinearConfig(dim=12, ensemble_size=1)
    model = TwoTowerModel(users.shape, items.shape, n_users, seen, config, seed=0)
    solver = solver_of(model, users, items, train, PENALTY)
    for _ in range(8):
        solver.solve(model)
    cold = SideArrays.pack(
        EncodedSide(np.zeros(n_items - seen, np.int32), {"x": Dense(x[seen:].astype(np.float32))}),
        torch.device("cpu"),
    )
    said = (model.encode(users, "users") @ model.encode(cold, "items").T).numpy()
    assert 1 - np.mean((said - truth[:, seen:]) ** 2) / truth[:, seen:].var() > 0.95


def test_noisy_users_count_less() -> None:
    """Half of the users rate at random: item vectors follow the other half."""
    rng = np.random.default_rng(8)
    n_users, n_items = 40, 30
    worth = rng.normal(size=n_items)
    user, item = (part.ravel().astype(np.int32) for part in np.mgrid[:n_users, :n_items])
    noise = np.where(user % 2, 3.0, 0.1)
    label = (worth[item] + noise * rng.normal(size=len(user))).astype(np.float32)
    train = Pairs.from_arrays(user, item, label, None, n_users=n_users)
    model, solver = made(train, members=1)
    for _ in range(4):
        solver.solve(model)
    assert solver.reliability is not None
    of_users = solver.reliability.of_users
    assert of_users[::2].min() > 3 * of_users[1::2].max()
    bias = solver.vectors(model)["items"][:, -1]
    alike = [train.label[(train.item == i)].mean() for i in range(n_items)]  # all users weighted equally
    error, plain = (np.std(found - worth) for found in (bias, np.array(alike)))
    assert error < 0.5 * plain


def test_weights_that_are_all_0_say_nothing() -> None:
    found = []
    for weight in (None, np.zeros(N, np.float32)):
        model, solver = made(pairs(weight))
        solver.solve(model)
        found.append(solver.vectors(model))
    for which in ("users", "items"):
        npt.assert_array_equal(found[0][which], found[1][which])


def test_what_has_no_solution_is_an_error_that_says_what_to_do() -> None:
    train = pairs()
    train.label[0] = np.inf
    model, solver = made(train)
    with pytest.raises(TrainingError, match=r"raise objective\.regularisation, or look for extreme labels"):
        solver.solve(model)


def test_without_a_penalty_it_still_solves() -> None:
    train = pairs()
    users, items = side(N_USERS), side(N_ITEMS)
    config = LinearConfig(dim=5, ensemble_size=1)
    model = TwoTowerModel(users.shape, items.shape, N_USERS, N_ITEMS, config, seed=3)
    solver = solver_of(model, users, items, train, 0.0)
    losses = [solver.solve(model) for _ in range(6)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
