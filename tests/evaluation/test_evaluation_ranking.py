"""Ranking evaluation: against plain Python, cases by hand, and no way for what was seen to come back."""

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import twotower.evaluation
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation import RankingTask, compare_rankings, evaluate_ranking, ranking_task
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.metrics import Interval, mean_differences, mean_intervals

ACCURACY = ("recall", "ndcg", "hit_rate", "precision", "map", "mrr")


def events(pairs, items=None):
    """Make a dataset of (user, item) pairs; items beyond those in the pairs are in its items table."""
    frame = pl.DataFrame({"user_id": [u for u, _ in pairs], "item_id": [i for _, i in pairs]})
    table = None if items is None else pl.DataFrame({"item_id": items})
    return Dataset.of(frame, items=table, schema=Schema())


class Scores(Ranker):
    """Ranks by a score that only the ids decide; keeps what it was asked."""

    def __init__(self, seed=0, name="scores"):
        self.seed, self.name, self.asked = seed, name, []

    def score(self, user, item):
        return math.sin((self.seed + 1) * 12.9898 * hash(user) + 78.233 * hash(item))

    def rank(self, queries: RankRequest, k: int):
        self.asked.append((queries, k))
        found = np.full((len(queries.users), k), -1, dtype=np.int32)
        for u, user in enumerate(queries.users):
            shut = set(queries.barred[u].tolist())
            rows = [row for row in range(len(queries.items)) if row not in shut]
            rows.sort(key=lambda row: (-self.score(user, queries.items[row]), row))
            found[u, : len(rows[:k])] = rows[:k]
        return found


class Fixed(Ranker):
    """Gives what it is told to give."""

    name = "fixed"

    def __init__(self, rows):
        self.rows = np.array(rows)

    def rank(self, queries, k):
        return self.rows


def plain(ranker, test, train, k, *, candidates=None, extra=(), barred_seen=True):
    """Do the whole evaluation with sets and dictionaries: metric -> user -> value."""
    seen = set(train) if barred_seen else set()
    catalogue = sorted({i for _, i in [*train, *test]} | set(extra))
    if candidates is not None:
        catalogue = sorted({i for _, i in candidates})
    values = {}
    for user in sorted({u for u, _ in test}):
        allowed = [
            i
            for i in catalogue
            if (user, i) not in seen and (candidates is None or (user, i) in set(candidates))
        ]
        relevant = {i for u, i in test if u == user} & set(allowed)
        if not relevant:
            continue
        given_items = sorted(allowed, key=lambda i: (-ranker.score(user, i), i))[:k]
        hits = [i in relevant for i in given_items]
        best = min(k, len(relevant))
        popular = [sum(i == j for _, j in train) for i in given_items]
        counts = {i: sum(i == j for _, j in train) for i in catalogue}
        values[user] = {
            f"recall@{k}": sum(hits) / len(relevant),
            f"precision@{k}": sum(hits) / k,
            f"hit_rate@{k}": float(any(hits)),
            f"mrr@{k}": next((1 / (r + 1) for r, hit in enumerate(hits) if hit), 0.0),
            f"map@{k}": sum(sum(hits[: r + 1]) / (r + 1) for r, hit in enumerate(hits) if hit) / best,
            f"ndcg@{k}": sum(hit / math.log2(r + 2) for r, hit in enumerate(hits))
            / sum(1 / math.log2(r + 2) for r in range(best)),
            f"novelty@{k}": np.mean([-math.log2(max(c, 1) / len(train)) for c in popular]),
            f"avg_popularity_percentile@{k}": np.mean(
                [
                    np.mean([(c < counts[i]) + (c == counts[i]) / 2 for c in counts.values()])
                    for i in given_items
                ]
            ),
            "given": given_items,
            "relevant": relevant,
        }
    return values, catalogue


pairs = st.tuples(st.integers(1, 5), st.integers(10, 18))


@settings(max_examples=50)
@given(
    st.lists(pairs, min_size=1, max_size=30),
    st.lists(pairs, min_size=1, max_size=20),
    st.none() | st.lists(pairs, min_size=1, max_size=40),
    st.booleans(),
    st.integers(1, 12),
)
def test_against_plain_python(train, test, candidates, barred_seen, k):
    extra = [7, 19]
    ranker = Scores()
    expected, catalogue = plain(
        ranker, test, train, k, candidates=candidates, extra=extra, barred_seen=barred_seen
    )

    def evaluate():
        return evaluate_ranking(
            ranker,
            events(test, items=sorted({i for _, i in test} | {7})),
            events(train, items=sorted({i for _, i in train} | {19})).as_train(),
            ks=[k],
            candidates=None if candidates is None else events(candidates),
            barred_seen=barred_seen,
            resamples=10,
        )

    if not expected:
        with pytest.raises(DataError, match=f"got {len(test)} held-out rows of {len({u for u, _ in test})}"):
            evaluate()
        return
    found = evaluate()
    assert (found.users, found.items) == (len(expected), len(catalogue))
    assert found.positives == sum(len(of["relevant"]) for of in expected.values())
    assert found.positives + sum(found.left_out.values()) == len(test)
    for name in [*ACCURACY, "novelty", "avg_popularity_percentile"]:
        mean = np.mean([of[f"{name}@{k}"] for of in expected.values()])
        assert found.metrics[f"{name}@{k}"].value == pytest.approx(mean, abs=1e-12), name
    shown = {i for of in expected.values() for i in of["given"]}
    assert found.metrics[f"coverage@{k}"].value == pytest.approx(len(shown) / len(catalogue))
    # What a ranker is asked: the users in order, every item, and nothing of the held-out rows.
    ((queries, asked_k),) = ranker.asked
    assert (queries.users.to_list(), queries.items.to_list(), asked_k) == (list(expected), catalogue, k)
    assert len(queries.tables) == 0
    if barred_seen:
        met = {(u, i) for u, of in expected.items() for i in {*of["given"], *of["relevant"]}}
        assert not met & set(train)


TRAIN = [(1, 10), (1, 11), (1, 10), (2, 10), (3, 12), (3, 13), (3, 14), (3, 15)]
TEST = [(1, 12), (1, 12), (1, 10), (2, 11), (2, 12), (2, 16), (9, 10), (3, 12)]


def test_by_hand():
    """Catalogue 10 to 17. User 3 has only a seen item; user 9 and item 16 are cold; 17 is in no event."""
    train = events(TRAIN).as_train()
    test = events(TEST, items=[*range(10, 18)])
    rows = [[2, 3, 4], [1, 7, 6], [0, 1, 2]]  # 12, 13, 14; 11, 17, 16; 10, 11, 12
    found = evaluate_ranking(Fixed(rows), test, train, ks=(1, 3), resamples=20)
    assert (found.users, found.items, found.positives) == (3, 8, 5)
    assert found.left_out == {"repeated": 1, "not_candidates": 0, "seen": 2}
    value = {name: of.value for name, of in found.metrics.items()}
    assert value["recall@1"] == pytest.approx((1 + 1 / 3 + 1) / 3)
    assert value["recall@3"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert value["ndcg@3"] == pytest.approx((1 + (1 + 1 / 2) / ideal + 1) / 3)
    assert value["map@3"] == pytest.approx((1 + (1 + 2 / 3) / 3 + 1) / 3)
    assert value["mrr@3"] == value["hit_rate@3"] == 1.0
    assert value["precision@3"] == pytest.approx((1 + 2 + 1) / 9)
    # In the lists: 10, 11, 12 (twice each the last two), 13, 14, 16, 17; not 15.
    assert value["coverage@3"] == 7 / 8
    assert value["coverage@1"] == 3 / 8
    # Train rows by item: 10 3, 11 1, 12 1, 13 1, 14 1, 15 1, 16 0, 17 0; 8 in all.
    assert value["novelty@1"] == pytest.approx((3 + 3 + math.log2(8 / 3)) / 3)
    assert value["avg_popularity_percentile@1"] == pytest.approx((4.5 / 8 + 4.5 / 8 + 7.5 / 8) / 3)
    assert found.metrics["coverage@3"].as_dict()["low"] is None

    parts = {
        group: {name: (part.rows, part.users, part.metrics["recall@1"].value) for name, part in of.items()}
        for group, of in found.slices.items()
    }
    assert parts == {
        "user": {"warm": (4, 2, pytest.approx((1 + 1 / 3) / 2)), "cold": (1, 1, 1.0)},
        # User 2 has one train row and user 1 three, cut at 1.67 and 2.33: none is in the middle.
        "user_activity": {"low": (3, 1, pytest.approx(1 / 3)), "high": (1, 1, 1.0)},
        # Of the warm relevant items user 1 has 12, user 2 has 11 and 12, user 9 has 10.
        "item": {"warm": (4, 3, pytest.approx((1 + 1 / 2 + 1) / 3)), "cold": (1, 1, 0.0)},
        # A third of 8 rows is 2.67: item 10 holds 3 alone, the five of one row each start above it.
        "item_popularity": {
            "cold": (1, 1, 0.0),
            "middle": (3, 2, pytest.approx((1 + 1 / 2) / 2)),
            "head": (1, 1, 1.0),
        },
    }
    assert found.slices["item"]["cold"].metrics["recall@3"].value == 1.0  # 16, third in the list of user 2
    assert found.slices["item"]["cold"].metrics["ndcg@3"].value == pytest.approx(1 / 2)
    assert set(found.slices["item"]["cold"].metrics) == {"recall@1", "recall@3", "ndcg@1", "ndcg@3"}
    assert found.slices["user_activity"]["high"].bounds == (3.0, 3.0)
    assert found.slices["item_popularity"]["middle"].bounds == (1.0, 1.0)


def test_slices_can_be_left_out():
    test, train = events(TEST), events(TRAIN).as_train()
    one = evaluate_ranking(Scores(), test, train, ks=[3], resamples=30)
    other = evaluate_ranking(Scores(), test, train, ks=[3], resamples=30, slices=False)
    assert other.metrics == pytest.approx(one.metrics)
    assert (other.slices, bool(one.slices)) == ({}, True)


@pytest.fixture(scope="module")
def random_case():
    """Return 60 users of unequal activity, 40 items of which some are cold, with durations."""
    rng = np.random.default_rng(0)
    users = (60 * rng.random(1200) ** 1.5).astype(int)
    items = (40 * rng.random(1200) ** 1.5).astype(int)
    schema = Schema(duration="seconds", items={"seconds": "number"})
    frame = pl.DataFrame({"user_id": users, "item_id": items})
    table = pl.DataFrame({"item_id": range(40), "seconds": [float(5 + i % 7) for i in range(40)]})
    in_train = (np.arange(1200) < 700) & (users < 50) & (items < 34)
    train = Dataset.of(frame.filter(in_train), items=table, schema=schema).as_train()
    return train, Dataset.of(frame.filter(np.arange(1200) >= 700), items=table, schema=schema)


def positives_of(part):
    return list(part.interactions.select("user_id", "item_id").iter_rows())


def test_intervals_and_slices_are_those_of_the_users_values(random_case):
    train, test = random_case
    found = evaluate_ranking(Scores(), test, train, ks=[5], resamples=40, seed=3)
    expected, _ = plain(Scores(), positives_of(test), positives_of(train), 5)
    values = {name: np.array([of[name] for of in expected.values()]) for name in [f"{m}@5" for m in ACCURACY]}
    drawn = mean_intervals(values, resamples=40, seed=3)
    for name in values:
        assert flat(found.metrics[name]) == pytest.approx(flat(drawn[name]))

    warm = np.array([user in set(train.interactions["user_id"]) for user in expected])
    assert 0 < warm.sum() < len(warm)
    masked = {name: np.where(warm, of, np.nan) for name, of in values.items()}
    drawn = mean_intervals(masked, resamples=40, seed=3)
    for name in values:
        assert flat(found.slices["user"]["warm"].metrics[name]) == pytest.approx(flat(drawn[name]))

    known = set(train.interactions["item_id"])
    recalls = [
        len(cold & set(of["given"])) / len(cold) if (cold := of["relevant"] - known) else np.nan
        for of in expected.values()
    ]
    drawn = mean_intervals({"recall": np.array(recalls)}, resamples=40, seed=3)["recall"]
    part = found.slices["item"]["cold"]
    assert flat(part.metrics["recall@5"]) == pytest.approx(flat(drawn))
    assert part.users == np.isfinite(recalls).sum()


def flat(interval):
    return (interval.value, interval.low, interval.high)


def test_groups_of_slices_hold_every_positive_and_thirds_are_thirds(random_case):
    train, test = random_case
    found = evaluate_ranking(Scores(), test, train, ks=[5], resamples=10)
    assert set(found.slices) == {"user", "user_activity", "item", "item_popularity", "item_duration"}
    for group, of in found.slices.items():
        total = found.slices["user"]["warm"].rows if group == "user_activity" else found.positives
        assert sum(part.rows for part in of.values()) == total
    thirds = found.slices["user_activity"]
    warm = found.slices["user"]["warm"].users
    assert list(thirds) == ["low", "middle", "high"]
    assert all(abs(part.users - warm / 3) <= 4 for part in thirds.values())
    assert thirds["low"].bounds[1] < thirds["middle"].bounds[0] <= thirds["middle"].bounds[1]
    assert thirds["middle"].bounds[1] < thirds["high"].bounds[0]


def test_measure_is_evaluate_without_intervals(random_case):
    train, test = random_case
    task = RankingTask.prepare(test, train, ks=(5, 10))
    found = evaluate_ranking(Scores(2), test, train, ks=(10, 5, 5), resamples=10)
    for ranker in (Scores(2), Scores(2)):  # the task is not used up
        assert task.measure(ranker) == {name: of.value for name, of in found.metrics.items()}
    assert list(found.metrics)[:2] == ["recall@5", "recall@10"]


@pytest.mark.parametrize("candidates", [False, True])
def test_blocks_of_users_change_nothing(random_case, monkeypatch, candidates):
    train, test = random_case
    given_pairs = test.interactions.select("user_id", "item_id") if candidates else None
    task = RankingTask.prepare(test, train, ks=(5,), candidates=given_pairs)
    parts = {("item", "even"): np.arange(len(task.relevant.values)) % 2 == 0}
    whole = task.values(Scores(), parts)
    ranker = Scores()
    monkeypatch.setattr(ranking_task, "_CELLS", 7 * len(task.items))
    blocks = task.values(ranker, parts)
    assert [len(queries.users) for queries, _ in ranker.asked][:2] == [7, 7]
    assert pl.concat([queries.users for queries, _ in ranker.asked]).equals(task.users)
    for one, other in ((whole.users, blocks.users), *((whole.parts[p], blocks.parts[p]) for p in parts)):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert whole.whole == blocks.whole


def test_candidates_of_a_user_are_all_that_is_given(random_case):
    train, test = random_case
    cells = [(u, i) for u in range(60) for i in range(40) if (u * 7 + i * 3) % 5 < 2 and i != 4]
    ranker = Scores()
    frame = pl.DataFrame(cells, schema=["user_id", "item_id"], orient="row")
    found = evaluate_ranking(
        ranker, test, train, ks=[20], candidates=pl.concat([frame, frame]), resamples=10, slices=False
    )
    ((queries, _),) = ranker.asked
    assert found.items == len(queries.items) == 39
    seen = set(positives_of(train))
    for u, user in enumerate(queries.users):
        shut = queries.items.gather(queries.barred[u]).to_list()
        assert shut == sorted(set(shut))
        assert set(queries.items) - set(shut) == {i for v, i in cells if v == user and (v, i) not in seen}
    assert found.left_out["not_candidates"] == len(set(positives_of(test)) - set(cells))


def test_order_and_repetition_of_rows_do_not_matter(random_case):
    train, test = random_case
    rng = np.random.default_rng(1)
    again = test.with_interactions(test.interactions[rng.permutation(np.tile(np.arange(len(test)), 2))])
    shuffled = train.with_interactions(train.interactions[rng.permutation(len(train))])
    one = evaluate_ranking(Scores(), test, train, ks=[5], resamples=10).as_dict()
    other = evaluate_ranking(Scores(), again, shuffled, ks=[5], resamples=10).as_dict()
    assert other.pop("left_out")["repeated"] == one.pop("left_out")["repeated"] + len(test)
    assert other == one


def test_text_ids_give_what_integer_ids_in_the_same_order_give():
    def named(found_pairs):
        return events([(f"u{u}", f"i{i}") for u, i in found_pairs])

    rows = [[2, 3, 4], [1, 5, 6], [0, 1, 2]]
    one = evaluate_ranking(Fixed(rows), events(TEST), events(TRAIN).as_train(), ks=[3], resamples=10)
    other = evaluate_ranking(Fixed(rows), named(TEST), named(TRAIN).as_train(), ks=[3], resamples=10)
    assert other.as_dict() == one.as_dict()


def test_integers_of_another_width_are_the_same_ids():
    narrow = events(TEST).interactions.cast(pl.Int32)
    rows = [[2, 3, 4], [1, 5, 6], [0, 1, 2]]
    train = events(TRAIN).as_train()
    one = evaluate_ranking(Fixed(rows), events(TEST), train, ks=[3], resamples=10)
    other = evaluate_ranking(Fixed(rows), Dataset.of(narrow, schema=Schema()), train, ks=[3], resamples=10)
    assert other.as_dict() == one.as_dict()


def test_as_dict_is_json_without_nan():
    found = evaluate_ranking(
        Fixed([[2, 3, 4], [-1, -1, -1], [0, 1, 2]]), events(TEST), events(TRAIN), ks=[3], resamples=10
    )
    as_dict = found.as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict
    assert set(as_dict) == {"users", "items", "positives", "left_out", "metrics", "slices"}
    assert set(as_dict["metrics"]["ndcg@3"]) == {"value", "low", "high"}
    # An empty list has no hits, and no popularity that could count.
    assert as_dict["metrics"]["recall@3"]["value"] == pytest.approx(2 / 3)
    assert as_dict["metrics"]["avg_popularity_percentile@3"]["value"] > 0


def test_nothing_relevant_is_refused():
    train = events(TRAIN).as_train()
    with pytest.raises(DataError, match="0 held-out rows of 0 users"):
        RankingTask.prepare(events(TEST).with_interactions(events(TEST).interactions.clear()), train)
    with pytest.raises(
        DataError, match=r"3 held-out rows of 2 users, .* 1 repeat.*2 were seen.*exclude_seen"
    ):
        RankingTask.prepare(events([(1, 10), (1, 10), (2, 10)]), train)
    with pytest.raises(DataError, match="1 are not candidates"):
        RankingTask.prepare(events([(1, 12)]), train, candidates=events([(1, 13)]))
    assert len(RankingTask.prepare(events([(1, 10)]), train, barred_seen=False).users) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[2, 3, 2], [1, 5, 6], [0, 1, 2]], "'fixed' must contain an item at most once"),
        ([[0, 3, 2], [1, 5, 6], [0, 1, 2]], "excluded for its user"),
        ([[2, 3, 99], [1, 5, 6], [0, 1, 2]], "rows of the 7 items"),
        ([[2, 3], [1, 5], [0, 1]], r"\(3, 3\); 'fixed' returned shape \(3, 2\)"),
    ],
)
def test_a_ranker_that_breaks_the_rules_is_refused(rows, message):
    with pytest.raises(DataError, match=message):
        evaluate_ranking(Fixed(rows), events(TEST), events(TRAIN), ks=[3])


def test_ids_and_columns_that_do_not_fit_are_refused():
    train = events(TRAIN).as_train()
    with pytest.raises(DataError, match=r"ids of test_positives.*the user 'x'"):
        RankingTask.prepare(events([("x", 10)]), train)
    with pytest.raises(DataError, match=r"candidates must have.*Did you mean 'user'"):
        RankingTask.prepare(events(TEST), train, candidates=pl.DataFrame({"user": [1], "item_id": [1]}))
    with pytest.raises(DataError, match="ids of candidates"):
        RankingTask.prepare(events(TEST), train, candidates=events([(1, "y")]))
    with pytest.raises(ConfigError, match="ks"):
        RankingTask.prepare(events(TEST), train, ks=())
    with pytest.raises(DataError, match="data frame"):
        RankingTask.prepare(events(TEST), train, candidates=[(1, 10)])


def test_comparison(random_case):
    train, test = random_case
    rankers = {"ours": Scores(1), "theirs": Scores(5)}
    found = compare_rankings(rankers, test, train, against="theirs", ks=[5], resamples=50, seed=2)
    for name, ranker in rankers.items():
        alone = evaluate_ranking(ranker, test, train, ks=[5], resamples=50, seed=2)
        assert found.models[name].as_dict() == alone.as_dict()
    task = RankingTask.prepare(test, train, ks=[5])
    values = {name: task.values(ranker).users for name, ranker in rankers.items()}
    expected = mean_differences(values, "theirs", resamples=50, seed=2)["ours"]
    differences = dict(found.differences["ours"])
    coverage = differences.pop("coverage@5")
    gini = differences.pop("gini@5")
    assert differences == expected
    ours, theirs = (found.models[name].metrics for name in rankers)
    assert coverage.value == ours["coverage@5"].value - theirs["coverage@5"].value
    assert gini.as_dict()["low"] is None
    as_dict = found.as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict
    assert (as_dict["users"], as_dict["against"]) == (len(task.users), "theirs")


def test_a_model_against_its_copy_differs_by_nothing(random_case):
    train, test = random_case
    found = compare_rankings(
        {"a": Scores(), "b": Scores()}, test, train, against="b", ks=[5], resamples=20, slices=False
    )
    assert found.differences["a"]["ndcg@5"] == Interval(0.0, 0.0, 0.0)
    assert found.models["a"].slices == {}


def test_comparison_against_an_unknown_model_suggests_one():
    with pytest.raises(ConfigError, match="Did you mean 'ease'"):
        compare_rankings({"ease": Scores()}, events(TEST), events(TRAIN), against="eas")


def test_what_is_not_a_ranker_says_what_one_is():
    class Duck:
        def rank(self, queries, k):
            return np.zeros((len(queries.users), k), dtype=np.int32)

    with pytest.raises(
        ConfigError, match=r"got Duck for 'duck'; derive its class from twotower\.evaluation\.Ranker"
    ):
        compare_rankings({"duck": Duck()}, events(TEST), events(TRAIN), against="duck")


def test_novelty_is_that_by_users_plus_the_rows_of_a_user(random_case):
    """What the page for users of RecTools says of its `MeanInvUserFreq`."""
    train, test = random_case
    rows = train.interactions.unique(["user_id", "item_id"])
    warm = test.with_interactions(
        test.interactions.filter(pl.col("item_id").is_in(rows["item_id"].implode()))
    )
    ranker = Fixed(np.empty((0, 5)))
    holders = dict(rows.group_by("item_id").len().iter_rows())
    found, n_users = [], rows["user_id"].n_unique()

    def rank(queries, k):
        lists = [[row for row in range(len(queries.items)) if queries.items[row] in holders][:k]] * len(
            queries.users
        )
        found.extend(-math.log2(holders[queries.items[row]] / n_users) for of in lists for row in of)
        return np.array(lists, dtype=np.int32)

    ranker.rank = rank
    whole = evaluate_ranking(
        ranker, warm, train.with_interactions(rows), ks=[5], barred_seen=False, resamples=10
    )
    expected = np.mean(found) + math.log2(len(rows) / n_users)
    assert whole.metrics["novelty@5"].value == pytest.approx(expected)


def test_equal_lists_differ_by_nothing(random_case):
    train, test = random_case
    found = compare_rankings({"one": Scores(1), "two": Scores(1)}, test, train, against="one", ks=[5])
    assert "+0.0000" in repr(found)
    assert "-0.0000" not in repr(found)


def test_the_old_name_of_a_rank_request_works_and_warns():
    with pytest.warns(DeprecationWarning, match=r"use twotower\.evaluation\.RankRequest"):
        assert twotower.evaluation.Queries is RankRequest
    with pytest.raises(AttributeError, match="no attribute 'Query'"):
        _ = twotower.evaluation.Query
