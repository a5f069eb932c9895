"""iALS: its vectors against the explicit objective and normal equations, its search ranges and its extra."""

import importlib
import sys

import numpy as np
import polars as pl
import pytest

from twotower.baselines import IALS, _implicit, ials
from twotower.baselines.feedback import Feedback
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import MissingExtraError


def random_pairs(n_users=40, n_items=25, share=0.2):
    rng = np.random.default_rng(0)
    matrix = (rng.random((n_users, n_items)) < share).astype(float)
    matrix[np.arange(n_users), np.arange(n_users) % n_items] = 1
    user, item = np.nonzero(matrix)
    return matrix, Dataset.of(pl.DataFrame({"user_id": user, "item_id": item}), schema=Schema()).as_train()


def objective(matrix, users, items, alpha, regularization):
    total = regularization * (np.square(users).sum() + np.square(items).sum())
    for u, i in np.ndindex(matrix.shape):
        weight = alpha if matrix[u, i] else 1.0
        total += weight * (matrix[u, i] - users[u] @ items[i]) ** 2
    return total


def best_users(matrix, items, alpha, regularization):
    """Each user's minimiser given the items: (V' C V + r I) u = V' C x."""
    found = []
    for x in matrix:
        weights = np.where(x > 0, alpha, 1.0)
        left = (items.T * weights) @ items + regularization * np.eye(items.shape[1])
        found.append(np.linalg.solve(left, (items.T * weights) @ x))
    return np.array(found)


def double(model):
    return model.user_vectors.astype(np.float64), model.item_vectors.astype(np.float64)


@pytest.mark.parametrize("alpha", [1.0, 3.0, 20.0])
@pytest.mark.parametrize("regularization", [0.5, 4.0])
def test_users_solve_their_normal_equations_and_so_do_items_in_the_end(alpha, regularization):
    matrix, train = random_pairs()
    users, items = double(IALS(6, alpha, regularization, iterations=1).fit(train))
    np.testing.assert_allclose(users, best_users(matrix, items, alpha, regularization), atol=1e-5)
    users, items = double(IALS(6, alpha, regularization, iterations=400).fit(train))
    np.testing.assert_allclose(users, best_users(matrix, items, alpha, regularization), atol=1e-5)
    np.testing.assert_allclose(items, best_users(matrix.T, users, alpha, regularization), atol=2e-3)


def test_the_objective_falls_to_what_exact_alternation_reaches():
    matrix, train = random_pairs()
    found = [
        objective(matrix, *double(IALS(6, 5.0, 2.0, iterations=n).fit(train)), 5.0, 2.0)
        for n in (1, 3, 10, 100)
    ]
    assert found == sorted(found, reverse=True)
    items = 0.1 * np.random.default_rng(5).normal(size=(25, 6))
    for _ in range(300):
        users = best_users(matrix, items, 5.0, 2.0)
        items = best_users(matrix.T, users, 5.0, 2.0)
    assert found[-1] == pytest.approx(objective(matrix, users, items, 5.0, 2.0), rel=0.01)


@pytest.mark.parametrize("shape", [(300, 200), (400, 50)])
def test_noise_is_the_largest_singular_value_of_chance(shape):
    """The largest singular value of centred random pairs."""
    matrix, train = random_pairs(*shape, share=0.08)
    largest = np.linalg.norm(matrix - matrix.mean(), 2)
    assert ials.noise(Feedback.of(train), 3.0) == pytest.approx(3.0 * largest, rel=0.15)


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_with_grades_they_are_the_confidence(power):
    """A pair's weight is alpha times a power of its grade, and its target stays 1."""
    matrix, train = random_pairs()
    grades = np.random.default_rng(4).choice([0.2, 0.5, 1.0], matrix.shape)
    user, item = (train.interactions[name].to_numpy() for name in ("user_id", "item_id"))
    model = IALS(6, 12.0, 0.7, iterations=3, power=power).fit(train, grades=grades[user, item])
    users, items = double(model)
    for u, x in enumerate(matrix):
        weights = np.where(x > 0, 12.0 * grades[u] ** power, 1.0)
        left = (items.T * weights) @ items + 0.7 * np.eye(6)
        np.testing.assert_allclose(users[u], np.linalg.solve(left, (items.T * weights) @ x), atol=2e-5)


@pytest.mark.parametrize("power", [None, 1.0, 2.0])
def test_strengths_are_in_units_of_the_noise(power):
    matrix, train = random_pairs()
    grades = None if power is None else np.linspace(0.2, 1.0, len(train))
    known = Feedback.of(train, grades)
    point = {"factors": 8, "alpha": 4.0, "strength": 0.5} | ({} if power is None else {"power": power})
    squares = len(train) if power is None else (grades ** (2 * power)).sum()
    noise = 4.0 * (np.sqrt(squares / matrix.shape[0]) + np.sqrt(squares / matrix.shape[1]))
    assert IALS.made(point, known).regularization == pytest.approx(0.5 * noise)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[baselines\]'"):
        IALS().fit(random_pairs()[1])


def test_the_module_is_imported_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(ImportError):
        importlib.import_module("implicit")
    importlib.reload(_implicit)
