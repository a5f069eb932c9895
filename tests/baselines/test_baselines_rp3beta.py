"""RP3beta against walks that are followed one by one."""

import numpy as np
import polars as pl
import pytest

from twotower.baselines import RP3beta, feedback
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset

N_USERS, N_ITEMS = 12, 9


def pairs():
    rng = np.random.default_rng(3)
    matrix = (rng.random((N_USERS, N_ITEMS)) < 0.35).astype(float)
    matrix[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = 1
    return matrix


def train_of(matrix):
    user, item = np.nonzero(matrix)
    data = Dataset.of(pl.DataFrame({"user_id": user, "item_id": item}), schema=Schema())
    return data.as_train(), matrix[user, item]


def walked(matrix, alpha, beta):
    """The weight of every walk item, user, item, added up in plain Python."""
    weights = np.zeros((N_ITEMS, N_ITEMS))
    for i in range(N_ITEMS):
        for v in range(N_USERS):
            for j in range(N_ITEMS):
                if matrix[v, i] and matrix[v, j] and i != j:
                    to_user = matrix[v, i] / sum(matrix[:, i])
                    to_item = matrix[v, j] / sum(matrix[v])
                    weights[i, j] += to_user**alpha * to_item**alpha / sum(matrix[:, j]) ** beta
    return weights


@pytest.mark.parametrize("block", [N_ITEMS, 4 * N_ITEMS, 2**22])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (1.0, 0.5), (0.6, 0.9), (1.7, 0.3)])
@pytest.mark.parametrize("graded", [False, True])
def test_the_weights_are_those_of_all_walks(alpha, beta, graded, block, monkeypatch):
    monkeypatch.setattr(feedback, "_BLOCK", block)
    matrix = pairs()
    if graded:
        matrix *= np.random.default_rng(5).choice([0.2, 0.6, 1.0], matrix.shape)
    train, grades = train_of(matrix)
    model = RP3beta(N_ITEMS, alpha, beta).fit(train, grades=grades if graded else None)
    expected = walked(matrix, alpha, beta)
    np.testing.assert_allclose(model.weights.toarray(), expected, rtol=1e-12)
    users = np.array([5, 0, 11])
    np.testing.assert_allclose(model._scores(users), matrix[users] @ expected, rtol=1e-12)


def test_without_exponents_the_scores_are_the_probabilities_of_three_steps():
    """A user, an item, another user, another item: each step is drawn uniformly, as 200,000 walks show."""
    matrix, rng = pairs(), np.random.default_rng(0)
    model = RP3beta(N_ITEMS, alpha=1.0, beta=0.0).fit(train_of(matrix)[0])
    user, walks = 4, 200_000
    ends = np.zeros(N_ITEMS)
    for _ in range(walks):
        first = rng.choice(np.flatnonzero(matrix[user]))
        other = rng.choice(np.flatnonzero(matrix[:, first]))
        last = rng.choice(np.flatnonzero(matrix[other]))
        ends[last] += last != first
    found = model._scores(np.array([user]))[0] / matrix[user].sum()
    np.testing.assert_allclose(found, ends / walks, atol=0.004)


def test_each_item_of_the_history_keeps_its_highest_weights():
    train, _ = train_of(pairs())
    whole = RP3beta(N_ITEMS).fit(train).weights.toarray()
    kept = RP3beta(2).fit(train).weights.toarray()
    for row, all_of_row in zip(kept, whole, strict=True):
        best = np.argsort(-all_of_row, kind="stable")[:2]
        assert sorted(np.flatnonzero(row)) == sorted(best)
        np.testing.assert_array_equal(row[best], all_of_row[best])


def test_a_high_beta_turns_to_rare_items():
    matrix = pairs()
    train, _ = train_of(matrix)
    mean = {}
    for beta in (0.0, 1.0):
        scores = RP3beta(N_ITEMS, beta=beta).fit(train)._scores(np.arange(N_USERS))
        mean[beta] = matrix.sum(axis=0)[scores.argmax(axis=1)].mean()
    assert mean[1.0] < mean[0.0]
