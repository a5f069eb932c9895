"""Content kNN against plain loops over the categories of items."""

import math

import numpy as np
import polars as pl
import pytest

from twotower.baselines import ContentKNN, feedback
from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.errors import DataError
from twotower.evaluation.ranker import RankRequest

SCHEMA = Schema(items={"genre": "category", "tags": "categories"})
N_WARM, N_ITEMS = 14, 18  # the last four are new


def made(seed=0):
    rng = np.random.default_rng(seed)
    tags = [sorted(rng.choice(list("abcdefg"), rng.integers(0, 4), replace=False)) for _ in range(N_ITEMS)]
    tags[3] = []  # not described
    tags[-1] = ["a", "only new"]
    items = pl.DataFrame(
        {"item_id": range(N_ITEMS), "genre": [of[0] if of else None for of in tags], "tags": tags},
        schema_overrides={"tags": pl.List(pl.String)},
    )
    pairs = [(u, i) for u in range(8) for i in range(N_WARM) if rng.random() < 0.3 or u == i % 8]
    events = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    return tags, Dataset.of(events, items=items, schema=SCHEMA).as_train()


def looped(tags, train, neighbours, grade):
    """The scores (n_users, n_items): tf-idf vectors, cosines, the nearest of the training items."""
    df = {c: sum(c in of for of in tags[:N_WARM]) for c in {c for of in tags[:N_WARM] for c in of}}
    vectors = [{c: math.log(N_WARM / df[c]) for c in of if c in df} for of in tags]

    def cosine(a, b):
        norms = [math.sqrt(sum(x * x for x in of.values())) for of in (a, b)]
        return sum(a[c] * b[c] for c in a if c in b) / (norms[0] * norms[1]) if all(norms) else 0.0

    scores = np.zeros((8, N_ITEMS))
    for j in range(N_ITEMS):
        near = [(-cosine(vectors[i], vectors[j]), i) for i in range(N_WARM) if i != j]
        near = sorted(one for one in near if one[0] < 0)[:neighbours]
        for value, i in near:
            for u, item in train.interactions.select("user_id", "item_id").iter_rows():
                scores[u, j] -= value * grade(u, item) * (item == i)
    return scores


@pytest.mark.parametrize("block", [3 * N_ITEMS, 2**22])
@pytest.mark.parametrize("neighbours", [1, 3, N_WARM])
@pytest.mark.parametrize("graded", [False, True])
def test_the_scores_are_those_of_plain_loops(neighbours, graded, block, monkeypatch):
    monkeypatch.setattr(feedback, "_BLOCK", block)
    tags, train = made()

    def grade(user, item):
        return (1 + (user + item) % 3) / 3 if graded else 1.0

    grades = [grade(*pair) for pair in train.interactions.select("user_id", "item_id").iter_rows()]
    model = ContentKNN("tags", neighbours).fit(train, grades=grades if graded else None)
    expected = looped(tags, train, neighbours, grade)
    similar = model.similarity(train, pl.Series(range(N_ITEMS)))
    np.testing.assert_allclose(model.feedback.matrix @ similar.T.toarray(), expected, atol=1e-12)
    asked = RankRequest(pl.Series(range(8)), pl.Series(range(N_ITEMS)), Lists.empty(8), train)
    for found, row in zip(model.rank(asked, N_ITEMS), expected.round(9), strict=True):
        assert (np.diff(row[found]) <= 1e-9).all()


def test_new_items_come_first_if_they_are_like_those_of_the_user():
    items = pl.DataFrame({"item_id": [1, 2, 3, 4], "genre": ["x", "y", "y", "x"], "tags": [[]] * 4})
    events = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2]})
    train = Dataset.of(events, items=items, schema=SCHEMA).as_train()
    asked = RankRequest(pl.Series([1, 2]), pl.Series([3, 4]), Lists.empty(2), train)
    assert ContentKNN("genre").fit(train).rank(asked, 2).tolist() == [[1, 0], [0, 1]]


def test_tables_without_the_column_are_refused():
    _, train = made()
    model = ContentKNN("genre").fit(train)
    lacking = Dataset.of(train.interactions, schema=Schema())
    with pytest.raises(DataError, match="'genre'"):
        model.rank(RankRequest(pl.Series([1]), pl.Series([1]), Lists.empty(1), lacking), 1)
