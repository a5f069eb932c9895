"""Recent popularity against counting by hand and by plain loops."""

import numpy as np
import polars as pl
import pytest

from twotower.baselines import Popularity, RecentPopularity, feedback
from twotower.baselines.events import DAY
from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.errors import DataError
from twotower.evaluation.ranker import RankRequest

SCHEMA = Schema(timestamp="time")


def train_of(rows):
    """Rows of user, item and day."""
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "day"], orient="row")
    frame = frame.select("user_id", "item_id", time=pl.col("day").cast(pl.Float64) * DAY)
    return Dataset.of(frame, schema=SCHEMA).as_train()


ROWS = [  # item 1 is the old favourite, 2 the new one, 3 came once in between
    (1, 1, 0), (2, 1, 1), (3, 1, 2), (4, 1, 3),
    (5, 3, 20),
    (5, 2, 38), (6, 2, 39), (1, 2, 40), (6, 2, 40),
]  # fmt: skip


def ranked(model, user, train, k=3):
    asked = RankRequest(pl.Series([user]), pl.Series([1, 2, 3]), Lists.empty(1), train)
    return [row + 1 for row in model.rank(asked, k)[0]]


def test_by_hand():
    train = train_of(ROWS)
    assert ranked(Popularity().fit(train), 99, train) == [1, 2, 3]
    # In the last ten days only 2; 1 and 3 have none, and 1 is the more popular of all time.
    assert ranked(RecentPopularity(10.0).fit(train), 99, train) == [2, 1, 3]
    assert ranked(RecentPopularity(30.0).fit(train), 99, train) == [2, 3, 1]
    assert ranked(RecentPopularity(41.0).fit(train), 99, train) == [1, 2, 3]
    # User 3 ended on day 2, when there was nothing but 1; user 6 and someone new are at the end.
    own = RecentPopularity(10.0, "user").fit(train)
    assert ranked(own, 3, train) == [1, 2, 3]
    assert ranked(own, 6, train) == ranked(own, 99, train) == [2, 1, 3]
    days = np.array([2.0, 10.0, 20.0, 40.0])
    assert own.counts(days * DAY).tolist() == [[3, 0, 0], [3, 0, 0], [0, 0, 1], [0, 3, 0]]


@pytest.mark.parametrize("graded", [False, True])
def test_the_counts_are_the_users_of_each_window(graded):
    rng = np.random.default_rng(1)
    users, items, days = rng.integers(0, 8, 300), rng.integers(0, 6, 300), rng.integers(0, 60, 300)
    train = train_of(list(zip(users.tolist(), items.tolist(), days.tolist(), strict=True)))
    grade = (1 + (users + items) % 4) / 4 if graded else np.ones(300)
    model = RecentPopularity(9.0).fit(train, grades=grade if graded else None)
    moments = rng.integers(0, 70, 20)
    expected = np.zeros((20, 6))
    for row, moment in enumerate(moments):
        for item in range(6):
            inside = (items == item) & (days <= moment) & (days > moment - 9)
            expected[row, item] = sum(grade[inside & (users == u)].max(initial=0) for u in range(8))
    np.testing.assert_allclose(model.counts(moments * DAY), expected, rtol=1e-8)


@pytest.mark.parametrize("block", [1, 7, 2**22])
def test_no_user_is_given_what_came_after_their_last_event(block, monkeypatch):
    """With a window to the user's last event, later rows of others change nothing but ties."""
    monkeypatch.setattr(feedback, "_BLOCK", block)
    rng = np.random.default_rng(4)
    rows = [(int(u), int(i), int(d)) for u, i, d in rng.integers(0, (9, 7, 30), (120, 3))]
    last = max(day for user, _, day in rows if user == 0)
    later = [(50 + n, 3, last + 1 + n) for n in range(40)]
    scores = [
        np.floor(RecentPopularity(8.0, "user").fit(train_of(of))._scores(np.arange(1)))
        for of in (rows, rows + later)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_a_window_of_everything_is_popularity_and_is_the_last_that_is_tried():
    train = train_of(ROWS)
    ladders = RecentPopularity.ladders(feedback.Feedback.of(train))
    assert ladders["days"].values[-2:] == (30.0, 60.0)
    assert ladders["days"].closed == (False, True)
    assert not ladders["until"].ordered
    model = RecentPopularity(60.0).fit(train)
    assert model.counts(np.array([40 * DAY])).tolist() == [model.feedback.popularity.tolist()]


def test_places_of_a_sequence_are_no_days():
    train = train_of([(1, 1, 0.0), (1, 2, 5 / DAY)])
    assert "span 5 seconds" in RecentPopularity.unsuited(train)
    assert RecentPopularity.unsuited(train_of(ROWS)) == ""
    with pytest.raises(DataError, match=r"more than 3 hours, and these span 5 seconds; places in a sequence"):
        RecentPopularity.tune(train, lambda ranker: 0.0)
