"""Next-item counts against plain loops over every user's sequence."""

import numpy as np
import polars as pl
import pytest

from twotower.baselines import NextItemCounts
from twotower.baselines.next_item import HISTORY, REACH
from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.evaluation.ranker import RankRequest

SCHEMA = Schema(timestamp="time")


def train_of(sequences, **columns):
    """Users 0, 1, ..., whose events are a second apart."""
    rows = [(u, item, float(at)) for u, items in enumerate(sequences) for at, item in enumerate(items)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "time"], orient="row")
    return Dataset.of(frame.with_columns(**columns), schema=SCHEMA).as_train()


def looped(sequences, decay, memory, backward, source, target, grade=lambda user, item: 1.0):
    """The scores (n_users, n_items) of the formulas of the module, item by item."""
    n = 1 + max(max(items) for items in sequences)
    counts, popularity = np.zeros((n, n)), np.zeros(n)
    for user, items in enumerate(sequences):
        for item in set(items):
            popularity[item] += grade(user, item)
        for at, i in enumerate(items):
            for gap in range(1, REACH + 1):
                if at + gap < len(items) and items[at + gap] != i:
                    j = items[at + gap]
                    counts[i, j] += decay ** (gap - 1) * grade(user, i) * grade(user, j)
    scores = np.zeros((len(sequences), n))
    for user, items in enumerate(sequences):
        for age, i in enumerate(reversed(items)):
            for j in range(n):
                if age < HISTORY:
                    both = counts[i, j] + backward * counts[j, i]
                    scale = (popularity[i] + 1) ** source * (popularity[j] + 1) ** target
                    scores[user, j] += memory**age * grade(user, i) * both / scale
    return scores


def random_sequences(n_users=15, n_items=10, longest=70):
    rng = np.random.default_rng(2)
    sequences = [rng.integers(0, n_items, rng.integers(1, longest)).tolist() for _ in range(n_users)]
    return [*sequences, list(range(n_items))]  # every item is there


@pytest.mark.parametrize(
    "settings",
    [
        {"decay": 0.7, "memory": 0.6, "backward": 0.2, "source": 0.5, "target": 0.3},
        {"decay": 0.0, "memory": 0.0, "backward": 0.0, "source": 0.0, "target": 0.0},
        {"decay": 1.0, "memory": 1.0, "backward": 1.0, "source": 1.0, "target": 0.1},
    ],
)
@pytest.mark.parametrize("graded", [False, True])
def test_the_scores_are_those_of_plain_loops(settings, graded):
    sequences = random_sequences()
    train = train_of(sequences)

    def grade(user, item):
        return (1 + (3 * user + item) % 4) / 4 if graded else 1.0

    grades = [grade(*pair) for pair in train.interactions.select("user_id", "item_id").iter_rows()]
    model = NextItemCounts(**settings).fit(train, grades=grades if graded else None)
    expected = looped(sequences, grade=grade, **settings)
    found = model._scores(np.arange(len(sequences)))
    tie = 1e-9 * expected.max()  # what popularity adds at most
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=tie)


def ranked(train, user, k=5, **settings):
    model = NextItemCounts(**settings).fit(train)
    items = pl.Series(range(5))
    asked = RankRequest(pl.Series([user]), items, Lists.empty(1), train)
    return model.rank(asked, k)[0].tolist()


def test_what_followed_the_last_item_comes_first_and_popularity_decides_between_equals():
    train = train_of([[0, 1], [0, 1], [2, 3], [4, 3], [4, 2], [4]])
    first = {"decay": 0.0, "memory": 0.0, "backward": 0.0, "source": 0.0, "target": 0.0}
    # 1 never came before anything, so user 0 gets what is popular: 4 has 3 users, the others 2 each.
    assert ranked(train, 0, **first) == [4, 0, 1, 2, 3]
    # After 4 came 3 and 2, once each: equal, and equally popular.
    assert ranked(train, 5, **first) == [2, 3, 4, 0, 1]


def test_the_order_is_that_of_time_and_at_equal_times_that_of_the_table():
    sequences = [[0, 1, 2, 3]] * 3
    plain = NextItemCounts().fit(train_of(sequences))
    table = train_of(sequences).interactions
    turned = plain.feedback.train.with_interactions(table.reverse()).as_train()
    assert np.array_equal(NextItemCounts().fit(turned).weights.toarray(), plain.weights.toarray())
    equal = table.with_columns(time=pl.lit(5.0))
    for rows, same in ((equal, True), (equal.reverse(), False)):
        found = NextItemCounts().fit(plain.feedback.train.with_interactions(rows).as_train())
        assert np.array_equal(found.weights.toarray(), plain.weights.toarray()) is same


def test_rows_without_a_time_are_not_in_the_order_but_count_as_popularity():
    train = train_of([[0, 1, 2], [2, 3]], time=pl.when(pl.col("item_id") != 1).then(pl.col("time")))
    model = NextItemCounts(source=0.0, target=0.0, backward=0.0).fit(train)
    assert model.weights.toarray()[0].tolist() == [0.0, 0.0, 1.0, 0.0]  # 2 follows 0 at once
    assert model.weights.toarray()[1].tolist() == [0.0] * 4
    assert model.feedback.popularity.tolist() == [1, 1, 2, 1]
