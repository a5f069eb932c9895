"""Item kNN against plain Python over dense columns."""

import numpy as np
import polars as pl
import pytest

from twotower.baselines import ItemKNN, feedback
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.evaluation.ranker import RankRequest


def random_pairs(seed, n_users=25, n_items=18):
    """A dense 0-1 matrix without empty rows or columns, and its training set."""
    rng = np.random.default_rng(seed)
    matrix = (rng.random((n_users, n_items)) < rng.random(n_items) * 0.6).astype(float)
    matrix[np.arange(n_users), np.arange(n_users) % n_items] = 1
    user, item = np.nonzero(matrix)
    events = pl.DataFrame({"user_id": user, "item_id": item})
    return matrix, Dataset.of(events, schema=Schema()).as_train()


def brute_force(matrix, neighbours, shrink):
    """similarity[j, i] of the neighbours j of item i, pair by pair."""
    n = matrix.shape[1]
    sets = [set(np.flatnonzero(matrix[:, i])) for i in range(n)]
    kept = np.zeros((n, n))
    for i in range(n):
        pairs = []
        for j in range(n):
            common = len(sets[i] & sets[j])
            if j != i and common:
                pairs.append((-common / ((len(sets[i]) * len(sets[j])) ** 0.5 + shrink), j))
        for negative, j in sorted(pairs)[:neighbours]:
            kept[j, i] = -negative
    return kept


@pytest.mark.parametrize("block", [1, 2**22])
@pytest.mark.parametrize("shrink", [0.0, 7.0])
@pytest.mark.parametrize("neighbours", [1, 4, 100])
def test_similarities_and_scores_are_those_of_brute_force(neighbours, shrink, block, monkeypatch):
    monkeypatch.setattr(feedback, "_BLOCK", block)
    matrix, train = random_pairs(0)
    model = ItemKNN(neighbours, shrink).fit(train)
    expected = brute_force(matrix, neighbours, shrink)
    np.testing.assert_allclose(model.similarity.toarray(), expected, rtol=1e-12)
    users = np.array([7, 0, 24])
    np.testing.assert_allclose(model._scores(users), matrix[users] @ expected, rtol=1e-12)


@pytest.mark.parametrize(("neighbours", "shrink", "power"), [(3, 0.0, 1.0), (3, 2.0, 2.0), (100, 7.0, 1.0)])
def test_with_grades_it_is_the_cosine_of_graded_columns(neighbours, shrink, power):
    matrix, train = random_pairs(2)
    grades = 0.2 + 0.8 * np.random.default_rng(5).random(matrix.shape)
    user, item = (train.interactions[name].to_numpy() for name in ("user_id", "item_id"))
    model = ItemKNN(neighbours, shrink, power).fit(train, grades=grades[user, item])
    X = (matrix * grades) ** power
    kept = np.zeros((X.shape[1], X.shape[1]))
    for i in range(X.shape[1]):
        found = []
        for j in range(X.shape[1]):
            dot = sum(X[u, i] * X[u, j] for u in range(len(X)))
            size = sum(X[u, i] ** 2 for u in range(len(X))) * sum(X[u, j] ** 2 for u in range(len(X)))
            if j != i and dot > 0:
                found.append((dot / (size**0.5 + shrink), j))
        for similarity, j in sorted(found, reverse=True)[:neighbours]:
            kept[j, i] = similarity
    np.testing.assert_allclose(model.similarity.toarray(), kept, rtol=1e-9)
    np.testing.assert_allclose(model._scores(np.arange(len(X))), X @ kept, rtol=1e-9)


def test_the_list_is_that_of_the_scores():
    matrix, train = random_pairs(1)
    scores = matrix @ brute_force(matrix, 3, 2.0)
    scores[matrix > 0] = -np.inf
    barred = (
        np.concatenate([[0], np.cumsum(matrix.sum(axis=1))]).astype(np.int64),
        np.nonzero(matrix)[1].astype(np.int32),
    )
    asked = RankRequest(pl.Series(range(25)), pl.Series(range(18)), barred, train)
    found = ItemKNN(3, 2.0).fit(train).rank(asked, 5)
    for score, rows in zip(scores, found, strict=True):
        np.testing.assert_allclose(score[rows], np.sort(score)[::-1][:5], rtol=1e-12)


def test_shrinkage_puts_much_evidence_before_little():
    # Items 0 and 1 share ten of eleven users each, items 0 and 2 the one user that item 2 has.
    pairs = [(u, i) for u in range(10) for i in (0, 1)] + [(10, 0), (11, 1), (12, 2), (12, 0)]
    events = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    train = Dataset.of(events, schema=Schema()).as_train()
    similarity = ItemKNN(2, 10.0).fit(train).similarity.toarray()
    assert similarity[0, 1] == pytest.approx(10 / (np.sqrt(12 * 11) + 10))
    assert similarity[0, 2] == pytest.approx(1 / (np.sqrt(12) + 10))


@pytest.mark.parametrize(
    ("n_items", "values", "start", "every"),
    [
        (1, (1,), 0, True),
        (18, (5, 10, 18), 2, True),
        (150, (5, 10, 20, 50, 100, 150), 4, True),
        (4000, (5, 10, 20, 50, 100, 200, 400, 800, 1600, 3200), 4, False),
    ],
)
def test_the_neighbours_to_try_end_at_all_items(n_items, values, start, every):
    events = pl.DataFrame({"user_id": [1] * n_items, "item_id": range(n_items)})
    known = feedback.Feedback.of(Dataset.of(events, schema=Schema()).as_train())
    ladder = ItemKNN.ladders(known)["neighbours"]
    assert (ladder.values, ladder.start, ladder.closed) == (values, start, (False, every))
