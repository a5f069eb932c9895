"""`FoldIn` against the explicit loss, and contributions against removing items by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twotower.kernels.layout import VectorLayout
from twotower.kernels.pairs import Pairs
from twotower.objectives import AllPairs
from twotower.towers.fold_in import FoldIn, FoldInSettings

N_ITEMS, WIDTH = 40, 5


def folding(members: int = 1, *, seed: int = 0, **settings: float) -> FoldIn:
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(N_ITEMS, members, WIDTH)) / 2
    parts[:, :, -2] = 1.0
    typical = rng.normal(size=(members, WIDTH)) / 4
    typical[:, -1] = 1.0
    given = {"cell": 0.05, "ridge": 0.3, **settings}
    sd, mean = given.get("sd", 1.0), given.get("mean", 0.0)
    start = (typical * sd / members).reshape(-1)
    start[-2] += mean
    warm = np.arange(N_ITEMS) < N_ITEMS - 3
    return FoldIn(
        parts.reshape(N_ITEMS, -1).astype(np.float32),
        warm,
        start.astype(np.float32),
        VectorLayout(members * WIDTH, members),
        FoldInSettings(**given),
    )


def loss(made: FoldIn, free: torch.Tensor, rows: Any, y: Any) -> torch.Tensor:
    """The sum over members of the least-squares loss of the free components (members, width - 1)."""
    total = torch.zeros((), dtype=torch.float64)
    items = torch.from_numpy(made.items.astype(np.float64)).reshape(N_ITEMS, made.layout.members, WIDTH)
    start = made.typical.astype(np.float64)
    start[-2] -= made.settings.mean
    start = torch.from_numpy(
        start.reshape(made.layout.members, WIDTH) * made.layout.members / made.settings.sd
    )[:, :-1]
    for member in range(made.layout.members):
        scores = items[:, member, :-1] @ free[member] + items[:, member, -1]
        total = total + ((scores[rows] - torch.from_numpy(y)) ** 2).sum()
        cells = scores[torch.from_numpy(made.warm)] - made.settings.rest
        total = total + made.settings.cell * len(rows) ** made.settings.cell_power * (cells**2).sum()
        away = free[member] - start[member]
        if made.shape is None:
            total = total + made.settings.ridge * len(rows) ** 0.5 * (away**2).sum()
        else:
            total = total + made.settings.ridge * away @ torch.from_numpy(made.shape[member]) @ away
    return total


@given(
    seed=st.integers(0, 30),
    members=st.sampled_from([1, 2]),
    n=st.integers(1, 12),
    population=st.booleans(),
    power=st.sampled_from([0.0, 0.5]),
)
def test_the_vector_is_the_minimum_of_the_loss(
    seed: int, members: int, n: int, population: bool, power: float
) -> None:
    made = folding(members, seed=seed, mean=0.7, sd=1.5, rest=0.1, population=population, cell_power=power)
    if population:
        users = np.random.default_rng(seed).normal(size=(30, members * WIDTH)).astype(np.float32)
        made = FoldIn.of(users, made.items, made.warm, made.layout, made.settings)
    rng = np.random.default_rng(seed)
    rows, y = rng.integers(0, N_ITEMS, n), rng.normal(size=n)
    vector = made.vector(rows, y)
    raw = vector.astype(np.float64)
    raw[-2] -= 0.7
    free = torch.from_numpy(raw.reshape(members, WIDTH)[:, :-1] * members / 1.5).requires_grad_(True)
    (slope,) = torch.autograd.grad(loss(made, free, rows, y), free)
    npt.assert_allclose(slope.numpy(), 0.0, atol=2e-5)
    npt.assert_allclose(raw.reshape(members, WIDTH)[:, -1], 1.5 / members, rtol=1e-6)


def test_users_are_drawn_less_in_directions_in_which_they_differ() -> None:
    rng = np.random.default_rng(1)
    spread = np.array([3.0, 1.0, 0.5, 0.01])
    users = np.concatenate([rng.normal(size=(5000, 4)) * spread, np.ones((5000, 1))], axis=1)
    made = folding(population=True)
    shape = FoldIn.of(users.astype(np.float32), made.items, made.warm, made.layout, made.settings).shape
    assert shape is not None
    npt.assert_allclose(np.linalg.det(shape[0]), 1.0, rtol=1e-9)
    variance = np.maximum(spread**2, 0.1 * spread[0] ** 2)  # small variances are raised to the lower bound
    npt.assert_allclose(np.diag(shape[0]) * variance, np.exp(np.log(variance).mean()), rtol=0.1)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_it_is_what_the_objective_would_have_found(power: float) -> None:
    """The gradient of `AllPairs` is zero at the solution of all users' least-squares problems."""
    rng = np.random.default_rng(3)
    n_users, mass = 6, 3.0
    user = np.sort(rng.integers(0, n_users, 60))
    item = rng.integers(0, N_ITEMS, 60)
    objective = AllPairs(mass, power)
    cells = objective.cell_weight(np.bincount(user, minlength=n_users), N_ITEMS)
    made = folding(cell=cells.weight, ridge=0.0, cell_power=cells.power)
    made = FoldIn(made.items, np.ones(N_ITEMS, bool), made.typical, made.layout, made.settings)
    U = np.stack([made.vector(item[user == u]) for u in range(n_users)]).astype(np.float64)
    pairs = Pairs.from_arrays(user, item, np.ones(60), n_users=n_users)
    V = torch.from_numpy(made.items.astype(np.float64))
    found = objective.on(pairs)(torch.from_numpy(U), V, pairs)
    npt.assert_allclose(found.dU.numpy()[:, :-1], 0.0, atol=1e-6)
    assert np.abs(found.dU.numpy()[:, -1]).max() > 1e-3  # the fixed component has a gradient: it is not free


def test_nothing_to_go_by_gives_the_typical_user() -> None:
    made = folding(2)
    nothing = np.empty(0, np.int64)
    npt.assert_array_equal(made.vector(nothing), made.typical)
    npt.assert_array_equal(made.vector(np.array([1, 2]), np.array([np.nan, np.nan])), made.typical)


def test_an_item_without_a_target_says_nothing() -> None:
    made = folding(2)
    some = made.vector(np.array([4, 9]), np.array([1.0, 0.5]))
    npt.assert_array_equal(made.vector(np.array([4, 7, 9]), np.array([1.0, np.nan, 0.5])), some)


@pytest.mark.parametrize("members", [1, 2])
def test_contributions_and_base_are_the_score(members: int) -> None:
    made = folding(members, mean=0.2, sd=2.0)
    rows, y = np.array([3, 8, 20, 3]), np.array([1.0, 0.2, np.nan, 0.7])
    vector, of = made.vector(rows, y), np.array([1, 5, 39])
    base, parts = made.explain(vector, rows, y, of)
    npt.assert_allclose(base + parts.sum(axis=1), made.items[of] @ vector, atol=1e-5)
    assert (parts[:, 2] == 0.0).all()
    # how much the score drops if an item has no effect, that is, if its target equals its bias
    for place in (0, 1, 3):
        items = made.items.reshape(N_ITEMS, members, WIDTH)
        lost = np.zeros(len(of))
        for member in range(members):
            x, b = items[:, member, :-1].astype(float), items[:, member, -1].astype(float)
            counted = [0, 1, 3]
            own = x[rows[counted]]
            A = own.T @ own + made.settings.cell * x[made.warm].T @ x[made.warm]
            A += made.settings.ridge * 3**0.5 * np.eye(WIDTH - 1)
            pull = x[rows[place]] * (y[place] - b[rows[place]])
            lost += 2.0 / members * (x[of] @ np.linalg.solve(A, pull))
        npt.assert_allclose(parts[:, place], lost, atol=1e-5)


def test_a_trained_vector_is_explained_with_what_the_items_do_not_say_in_the_base() -> None:
    made = folding(2)
    rows, of = np.array([3, 8]), np.array([1, 5])
    trained = made.vector(rows) + np.float32(0.25)
    base, parts = made.explain(trained, rows, None, of)
    plain, same = made.explain(made.vector(rows), rows, None, of)
    npt.assert_array_equal(parts, same)
    npt.assert_allclose(base - plain, made.items[of] @ np.full(2 * WIDTH, 0.25), atol=1e-5)


def test_further_events_move_a_solution_to_the_solution_with_them() -> None:
    """Recursive least squares: updating with new items equals solving for all items (without a ridge)."""
    made = folding(2, ridge=0.0, mean=0.3, sd=1.7)
    past, more = np.array([1, 4, 9, 16, 25]), np.array([30, 2])
    y_past, y_more = np.linspace(0.2, 1.0, 5), np.array([0.9, 0.1])
    before = made.vector(past, y_past)
    moved = made.moved(before, past, y_past, more, y_more)
    whole = made.vector(np.concatenate([past, more]), np.concatenate([y_past, y_more]))
    npt.assert_allclose(moved, whole, atol=2e-5)


def test_without_further_events_a_vector_stays_as_it_is() -> None:
    made = folding(2)
    vector = made.vector(np.array([1, 2])) + np.float32(0.1)
    npt.assert_array_equal(made.moved(vector, np.array([1, 2]), None, np.empty(0, np.int64)), vector)


def test_more_of_the_same_brings_the_score_nearer_to_its_target() -> None:
    made = folding(1)
    vector = made.typical
    gaps = []
    for times in (1, 3, 10):
        rows = np.full(times, 7)
        moved = made.moved(vector, np.empty(0, np.int64), None, rows, np.full(times, 2.0))
        gaps.append(abs(float(moved @ made.items[7]) - 2.0))
    assert gaps[0] > gaps[1] > gaps[2]
