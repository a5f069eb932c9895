"""The contract of ranking baselines, and the helpers that turn scores into lists."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.baselines import (
    BPR,
    IALS,
    RANKING_BASELINES,
    CategoryPopularity,
    Popularity,
    RankingBaseline,
    RecentPopularity,
    feedback,
)
from twotower.baselines.feedback import Feedback
from twotower.baselines.order import rank_alike, top_rows
from twotower.baselines.ranking import POWERS, VectorBaseline
from twotower.config.schema import Schema
from twotower.core.lists import Lists
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError, TrainingError, TrainPartError
from twotower.evaluation.ranker import Ranker, RankRequest

SCHEMA = Schema(timestamp="time", items={"genre": "category", "tags": "categories"})
N_USERS, N_ITEMS = 30, 24
COLD_ITEMS = [50, 51, 52]
COLD_USERS = [70, 71]
SHARED = {
    Popularity.name,
    RecentPopularity.name,
    CategoryPopularity.name,
}  # the same order for all users
SMALL = {
    "content kNN": {"column": "tags"},
    "BPR": {"factors": 8, "iterations": 40},
    "iALS": {"factors": 8, "regularization": 1.0},
}


def interactions(seed=0, n_users=N_USERS, n_items=N_ITEMS):
    """Even users like even items and odd users odd ones, low items more; some pairs occur twice."""
    rng = np.random.default_rng(seed)
    possible = [(u, i) for u in range(n_users) for i in range(u % 2, n_items, 2)]
    pairs = [(u, i) for u, i in possible if rng.random() < 0.9 - i / n_items / 2]
    pairs += pairs[::5]
    days = [(7 * u + 13 * i) % 101 for u, i in pairs]  # no two of one user are equal
    frame = pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row")
    return frame.with_columns(time=86_400.0 * pl.Series(days))


def dataset(events=None):
    events = interactions() if events is None else events
    ids = [*range(N_ITEMS), *COLD_ITEMS]
    items = pl.DataFrame(
        {
            "item_id": ids,
            "genre": ["ab"[i % 2] for i in ids],
            "tags": [[f"t{i % 3}", f"s{i % 4}"] for i in ids],
        }
    )
    return Dataset.of(events, pl.DataFrame({"user_id": [*range(N_USERS), *COLD_USERS]}), items, schema=SCHEMA)


def queries(users, items, barred=None, data=None):
    barred = [[] for _ in users] if barred is None else barred
    return RankRequest(
        pl.Series(users), pl.Series(items), Lists.from_groups(barred), dataset() if data is None else data
    )


ALL_USERS = [*range(N_USERS), *COLD_USERS]
# Cold items between warm ones, and unsorted rows.
CATALOGUE = np.random.default_rng(1).permutation([*range(N_ITEMS), *COLD_ITEMS]).tolist()


def make(name):
    return RANKING_BASELINES[name](**SMALL.get(name, {}))


def grades_of(data, seed=7):
    """A grade above 0 for each row, the same for duplicates of a pair."""
    pairs = data.interactions.select(pl.struct("user_id", "item_id").hash(seed)).to_series()
    return (pairs % 8 + 1).to_numpy() / 8


@pytest.fixture(scope="module")
def fitted():
    train = dataset().as_train()
    return {name: make(name).fit(train, seed=3) for name in RANKING_BASELINES}


@pytest.fixture(scope="module")
def orders(fitted):
    """The whole catalogue as ranked for each user, without excluded items."""
    asked = queries(ALL_USERS, CATALOGUE)
    return {name: model.rank(asked, len(CATALOGUE)) for name, model in fitted.items()}


@pytest.mark.parametrize("name", list(RANKING_BASELINES))
class TestContract:
    def test_its_name_is_its_key(self, name):
        assert RANKING_BASELINES[name].name == name
        assert issubclass(RANKING_BASELINES[name], RankingBaseline)

    def test_it_says_what_it_needs_of_the_schema_if_anything(self, name):
        kind, bare = RANKING_BASELINES[name], Schema()
        assert kind.applies_to(SCHEMA)
        assert kind.applies_to(bare) == (not kind.needs)
        if kind.needs:
            train = Dataset.of(interactions(), schema=bare).as_train()
            for act in (make(name).fit, lambda part: kind.tune(part, lambda ranker: 0.0)):
                with pytest.raises(ConfigError, match=r"schema.*leave out this baseline"):
                    act(train)

    def test_settings_make_the_same_baseline(self, name):
        kind, data = RANKING_BASELINES[name], dataset().as_train()
        known = Feedback.of(data, grades_of(data))
        start = {setting: ladder.values[ladder.start] for setting, ladder in kind.ladders(known).items()}
        for model in (make(name), kind.made(start, known), kind.made({**start, "power": 4.0}, known)):
            assert type(model)(**model.settings()).settings() == model.settings()
        assert model.settings()["power"] == 4.0

    def test_the_whole_catalogue_is_ranked_each_item_once(self, name, orders):
        order = orders[name]
        assert order.dtype == np.int32
        assert order.shape == (len(ALL_USERS), len(CATALOGUE))
        np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(len(CATALOGUE)), (32, 1)))

    @settings(max_examples=25)
    @given(data=st.data())
    def test_what_is_barred_or_absent_only_leaves_the_order(self, name, fitted, orders, data):
        """The rest of the catalogue keeps its order, is cut off at k, and is followed by -1."""
        users = data.draw(st.lists(st.sampled_from(range(len(ALL_USERS))), unique=True, max_size=6))
        kept = sorted(data.draw(st.sets(st.sampled_from(range(len(CATALOGUE))), min_size=1)))
        barred = [data.draw(st.lists(st.sampled_from(range(len(kept))), max_size=30)) for _ in users]
        k = data.draw(st.integers(1, 2 * len(CATALOGUE)))
        asked = queries(
            pl.Series([ALL_USERS[u] for u in users], dtype=pl.Int64), [CATALOGUE[i] for i in kept], barred
        )
        found = fitted[name].rank(asked, k)
        assert found.shape == (len(users), k)
        place = {row: new for new, row in enumerate(kept)}
        for u, user in enumerate(users):
            left = [place[row] for row in orders[name][user] if row in place]
            left = [row for row in left if row not in barred[u]][:k]
            assert found[u].tolist() == left + [-1] * (k - len(left))

    def test_blocks_make_no_difference(self, name, fitted, orders, monkeypatch):
        monkeypatch.setattr(feedback, "_BLOCK", 3 * len(CATALOGUE) + 1)
        barred = [[u % 27, (5 * u) % 27] for u in range(len(ALL_USERS))]
        found = fitted[name].rank(queries(ALL_USERS, CATALOGUE, barred), len(CATALOGUE))
        for u, given_rows in enumerate(barred):
            left = [row for row in orders[name][u] if row not in given_rows]
            assert found[u, : len(left)].tolist() == left

    def test_blocks_make_no_difference_to_the_fit(self, name, orders, monkeypatch):
        monkeypatch.setattr(feedback, "_BLOCK", 3 * N_ITEMS + 1)
        model = make(name).fit(dataset().as_train(), seed=3)
        np.testing.assert_array_equal(model.rank(queries(ALL_USERS, CATALOGUE), 27), orders[name])

    def test_cold_items_come_last_by_row(self, name, orders):
        if RANKING_BASELINES[name].for_new_items:
            pytest.skip("it ranks cold items by their categories")
        cold = [row for row, item in enumerate(CATALOGUE) if item in COLD_ITEMS]
        assert (orders[name][:, -len(cold) :] == cold).all()

    def test_cold_users_get_what_is_popular(self, name, orders):
        expected = orders[name if name in SHARED else Popularity.name]
        np.testing.assert_array_equal(orders[name][-len(COLD_USERS) :], expected[-len(COLD_USERS) :])

    def test_users_get_what_their_like_have(self, name, orders):
        """The first ten of the twelve items that the user's half likes; not for the popularity baselines."""
        if name in SHARED:
            assert (orders[name] == orders[name][0]).all()
            return
        item = np.array(CATALOGUE)[orders[name][:N_USERS, :10]]
        assert (item % 2 == (np.arange(N_USERS) % 2)[:, None]).mean() > 0.95

    def test_a_pair_counts_once_in_whatever_order_the_rows_are(self, name, orders):
        events = interactions()
        turned = pl.concat([events.sample(fraction=1.0, shuffle=True, seed=2), events[:40], events[:40]])
        model = make(name).fit(dataset(turned).as_train(), seed=3)
        np.testing.assert_array_equal(model.rank(queries(ALL_USERS, CATALOGUE), 27), orders[name])

    def test_the_same_seed_gives_the_same_bits(self, name, orders):
        model = make(name).fit(dataset().as_train(), seed=3)
        np.testing.assert_array_equal(model.rank(queries(ALL_USERS, CATALOGUE), 27), orders[name])

    def test_the_seed_is_used_where_anything_is_random(self, name, fitted):
        other = make(name).fit(dataset().as_train(), seed=4)
        if isinstance(other, VectorBaseline):
            assert not np.array_equal(other.user_vectors, fitted[name].user_vectors)

    def test_a_second_fit_forgets_the_first(self, name, orders):
        model = make(name).fit(dataset(interactions(9, 7, 11)).as_train()).fit(dataset().as_train(), seed=3)
        np.testing.assert_array_equal(model.rank(queries(ALL_USERS, CATALOGUE), 27), orders[name])

    def test_text_ids_do_what_integer_ids_do(self, name, orders):
        def text(column):
            return pl.col(column).cast(pl.String).str.zfill(3)  # so that both types sort the same way

        data = dataset()
        data = Dataset(
            data.interactions.with_columns(text("user_id"), text("item_id")),
            data.users.with_columns(text("user_id")),
            data.items.with_columns(text("item_id")),
            data.schema,
        )
        asked = queries([f"{u:03}" for u in ALL_USERS], [f"{i:03}" for i in CATALOGUE], data=data)
        model = make(name).fit(data.as_train(), seed=3)
        np.testing.assert_array_equal(model.rank(asked, 27), orders[name])

    def test_nobody_and_nothing_give_empty_lists(self, name, fitted):
        nobody = queries(pl.Series([], dtype=pl.Int64), CATALOGUE)
        assert fitted[name].rank(nobody, 5).shape == (0, 5)
        nothing = queries(ALL_USERS, pl.Series([], dtype=pl.Int64))
        assert (fitted[name].rank(nothing, 5) == -1).all()

    def test_one_user_and_one_item_are_enough(self, name):
        model = make(name).fit(
            dataset(pl.DataFrame({"user_id": [3], "item_id": [5], "time": [9.0]})).as_train()
        )
        found = model.rank(queries([3, 9], [4, 5, 6]), 3)
        if not RANKING_BASELINES[name].for_new_items:
            assert found.tolist() == [[1, 0, 2]] * 2

    @pytest.mark.parametrize("graded", [False, True])
    def test_tune_climbs_to_what_the_judge_prefers_unfitted(self, name, graded, monkeypatch):
        """Each setting is tuned from its start to the last value but one, whatever the others are."""
        kind, data = RANKING_BASELINES[name], dataset().as_train()
        grades = grades_of(data) if graded else None
        known = Feedback.of(data, grades)
        ladders = {**kind.ladders(known), **({"power": POWERS} if graded else {})}
        wanted = {setting: ladder.values[-2:][0] for setting, ladder in ladders.items()}
        points = []
        monkeypatch.setattr(
            kind, "made", classmethod(lambda cls, point, of: points.append(point) or make(name))
        )
        monkeypatch.setattr(kind, "_fit", lambda self, of, seed: points[-1].update(graded=of.graded))

        def judge(ranker):
            assert isinstance(ranker, Ranker)
            assert ranker.feedback is not None  # it is fitted
            assert points[-1].pop("graded") is graded
            place = {key: ladder.values.index(points[-1][key]) for key, ladder in ladders.items()}
            return -sum(abs(at - ladders[key].values.index(wanted[key])) for key, at in place.items())

        found = kind.tune(data, judge, grades=grades, seed=1)
        assert points[-1] == wanted
        assert found.worth == 0
        # so few items leave two numbers of factors: the last but one is the smallest
        assert set(found.at_edge) == {"factors"} & set(ladders)
        assert found.tried == len(points) - 1
        with pytest.raises(TrainingError, match=r"call fit\(train\) first"):
            found.baseline.rank(queries([0], CATALOGUE), 3)

    def test_grades_that_are_all_alike_change_no_order_of_popularity_or_vectors(self, name, orders):
        """A grade of 1 for each row is the same as no grades."""
        data = dataset().as_train()
        model = make(name).fit(data, grades=np.ones(len(data)), seed=3)
        np.testing.assert_array_equal(model.rank(queries(ALL_USERS, CATALOGUE), 27), orders[name])

    def test_grades_matter_and_their_power(self, name, orders):
        data = dataset().as_train()
        kind = RANKING_BASELINES[name]
        found = [
            kind(**SMALL.get(name, {}), power=power).fit(data, grades=grades_of(data), seed=3)
            for power in (0.0, 1.0, 6.0)
        ]
        alike, graded, sharp = (model.rank(queries(ALL_USERS, CATALOGUE), 27) for model in found)
        np.testing.assert_array_equal(alike, orders[name])
        if name == CategoryPopularity.name:  # two categories have few possible orders
            alike, graded, sharp = (model.worth["worth"].to_numpy() for model in found)
        assert not np.array_equal(graded, alike)
        assert not np.array_equal(graded, sharp)

    def test_rows_of_grade_0_are_as_good_as_none(self, name):
        data = dataset().as_train()
        grades = np.where(np.arange(len(data)) % 3 == 0, 0.0, grades_of(data))
        kept = data.with_interactions(data.interactions.filter(pl.Series(grades > 0))).as_train()
        expected = make(name).fit(kept, grades=grades[grades > 0], seed=3)
        found = make(name).fit(data, grades=grades, seed=3)
        asked = queries(ALL_USERS, CATALOGUE)
        np.testing.assert_array_equal(found.rank(asked, 27), expected.rank(asked, 27))

    def test_a_pair_has_its_highest_grade_in_whatever_order(self, name):
        data = dataset().as_train()
        copies = pl.concat([data.interactions, data.interactions])
        low_first = data.with_interactions(copies).as_train()
        grades = grades_of(data)
        found = [
            make(name).fit(part, grades=of, seed=3).rank(queries(ALL_USERS, CATALOGUE), 27)
            for part, of in (
                (data, grades),
                (low_first, np.concatenate([grades / 2, grades])),
                (low_first, np.concatenate([grades, grades / 2])),
            )
        ]
        np.testing.assert_array_equal(found[1], found[0])
        np.testing.assert_array_equal(found[2], found[0])

    @pytest.mark.parametrize(
        ("grades", "message"),
        [
            ([1.0], r"one grade for each interaction, \(\d+,\); got shape \(1,\)"),
            (-1.0, "at least 0; got -1.0 at row 2"),
            (float("nan"), "finite.*got nan at row 2"),
            (float("inf"), "finite.*got inf at row 2"),
        ],
    )
    def test_grades_that_are_none_are_refused(self, name, grades, message):
        data = dataset().as_train()
        if not isinstance(grades, list):
            grades = np.where(np.arange(len(data)) == 2, grades, 1.0)
        with pytest.raises(DataError, match=message):
            make(name).fit(data, grades=grades)

    def test_grades_of_0_alone_are_no_positives(self, name):
        data = dataset().as_train()
        with pytest.raises(DataError, match="at least one positive"):
            make(name).fit(data, grades=np.zeros(len(data)))

    def test_a_validation_score_that_is_not_finite_is_refused(self, name):
        kind, train = RANKING_BASELINES[name], dataset().as_train()
        with pytest.raises(DataError, match="must be finite; got nan"):
            kind.tune(train, lambda ranker: float("nan"))

    def test_is_fitted_on_a_train_part_only(self, name):
        with pytest.raises(TrainPartError, match="TrainPart"):
            make(name).fit(dataset())
        with pytest.raises(TrainPartError, match="TrainPart"):
            RANKING_BASELINES[name].tune(dataset(), lambda ranker: 1.0)

    def test_refuses_to_rank_before_it_is_fitted(self, name):
        with pytest.raises(TrainingError, match=r"call fit\(train\) first"):
            make(name).rank(queries([0], [0]), 1)

    def test_a_fit_that_fails_leaves_it_unfitted(self, name, monkeypatch):
        model = make(name).fit(dataset().as_train())
        monkeypatch.setattr(model, "_fit", lambda feedback, seed: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.fit(dataset().as_train())
        with pytest.raises(TrainingError, match="first"):
            model.rank(queries([0], [0]), 1)

    @pytest.mark.parametrize("k", [0, -1])
    def test_refuses_to_rank_less_than_one(self, name, fitted, k):
        with pytest.raises(ConfigError, match=f"at least 1; got {k}"):
            fitted[name].rank(queries([0], [0]), k)

    @pytest.mark.parametrize(
        ("pointers", "rows", "message"),
        [
            ([0, 1], [0], r"the pointers 3 integers .* got int64 of shape \(2,\)"),
            ([0, 2, 1], [0], "rising"),
            ([0, 1, 1], [0, 1], "number of item rows"),
            ([1, 1, 1], [0], "from 0"),
            ([0, 1, 2], [0, 4], "0 to 3, got 0 to 4"),
            ([0, 1, 2], [0, -1], "got -1 to 0"),
        ],
    )
    def test_refuses_barred_lists_of_other_queries(self, name, fitted, pointers, rows, message):
        barred = (np.array(pointers, dtype=np.int64), np.array(rows, dtype=np.int32))
        asked = RankRequest(pl.Series([0, 99]), pl.Series([0, 1, 2, 3]), barred, dataset())
        with pytest.raises(DataError, match=message):
            fitted[name].rank(asked, 2)

    def test_no_positives_are_refused(self, name):
        train = dataset().as_train()
        empty = type(train)(train.interactions[:0], train.users, train.items, train.schema)
        with pytest.raises(DataError, match="at least one positive"):
            make(name).fit(empty)


def test_feedback_is_the_distinct_pairs():
    events = pl.DataFrame({"user_id": [5, 2, 5, 5], "item_id": [9, 9, 1, 9]})
    found = Feedback.of(Dataset.of(events, schema=Schema()).as_train())
    assert found.users.known == [2, 5]
    assert found.items.known == [1, 9]
    np.testing.assert_array_equal(found.matrix.toarray(), [[0, 1], [1, 1]])
    assert found.popularity.tolist() == [1, 2]
    assert [(rows.start, rows.stop) for rows, _ in found.overlaps()] == [(0, 2)]
    assert next(found.overlaps())[1].tolist() == [[1, 1], [1, 2]]
    assert not found.graded
    assert found.raised(3.0) is found


def test_feedback_with_grades_is_the_highest_of_each_pair():
    events = pl.DataFrame({"user_id": [5, 2, 5, 5, 7], "item_id": [9, 9, 1, 9, 4]})
    found = Feedback.of(Dataset.of(events, schema=Schema()).as_train(), [0.25, 0.5, 1.0, 0.75, 0.0])
    assert found.graded
    assert (found.users.known, found.items.known) == ([2, 5], [1, 9])
    np.testing.assert_array_equal(found.matrix.toarray(), [[0, 0.5], [1, 0.75]])
    assert found.popularity.tolist() == [1.0, 1.25]
    np.testing.assert_array_equal(found.raised(2.0).matrix.toarray(), [[0, 0.25], [1, 0.5625]])
    np.testing.assert_array_equal(found.matrix.toarray(), [[0, 0.5], [1, 0.75]])  # unchanged


def sorted_columns(scores, k):
    """Sort each row by score descending, then column ascending."""
    found = np.full((len(scores), k), -1)
    for row, score in enumerate(scores):
        order = sorted((-s, c) for c, s in enumerate(score) if s > -np.inf)[:k]
        found[row, : len(order)] = [c for _, c in order]
    return found


SCORE = st.sampled_from([-np.inf, -1e30, -1.0, 0.0, 0.0, 0.5, 2.0])


@given(st.data())
def test_top_rows_are_what_sorting_gives(data):
    n, width, k = (data.draw(st.integers(*bounds)) for bounds in ((0, 4), (0, 12), (1, 15)))
    scores = np.array(
        data.draw(st.lists(SCORE, min_size=n * width, max_size=n * width)), dtype=np.float64
    ).reshape(n, width)
    np.testing.assert_array_equal(top_rows(scores, k), sorted_columns(scores, k))


@given(st.lists(SCORE.map(lambda s: max(s, -1e30)), min_size=1, max_size=20), st.integers(1, 25))
def test_one_order_for_all_is_what_sorting_gives(worth, k):
    barred = [[], [0], [len(worth) - 1, 0], list(range(len(worth)))]
    scores = np.tile(np.array(worth), (4, 1))
    for row, rows in enumerate(barred):
        scores[row, rows] = -np.inf
    found = rank_alike(np.array(worth), Lists.from_groups(barred), 4, k)
    np.testing.assert_array_equal(found, sorted_columns(scores, k))


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        *itertools.product(["EASE"], ["l2"], [0.0, -1.0, float("nan"), float("inf")]),
        *itertools.product(["item kNN"], ["neighbours"], [0]),
        *itertools.product(["item kNN"], ["shrink"], [-1.0, float("nan")]),
        *itertools.product(["content kNN"], ["neighbours"], [0, float("nan")]),
        *itertools.product(["RP3beta"], ["neighbours", "alpha"], [0]),
        *itertools.product(["RP3beta"], ["beta"], [-1.0, float("nan")]),
        *itertools.product(["next-item counts"], ["decay", "memory", "backward"], [-0.1, 1.1, float("nan")]),
        *itertools.product(["next-item counts"], ["source", "target"], [-0.1, float("inf")]),
        *itertools.product(["recent popularity"], ["days"], [0.0, float("inf")]),
        *itertools.product(["recent popularity"], ["until"], ["now"]),
        *itertools.product(["iALS"], ["factors", "alpha", "regularization", "iterations"], [0]),
        *itertools.product(list(RANKING_BASELINES), ["power"], [-1.0, float("nan"), float("inf")]),
        *itertools.product(["BPR"], ["factors", "learning_rate", "regularization", "iterations"], [0]),
    ],
)
def test_settings_out_of_range_are_refused(name, setting, value):
    with pytest.raises(ConfigError, match=f"{setting} of the baseline '{name}'.*{value}"):
        RANKING_BASELINES[name](**{setting: value})


@pytest.mark.parametrize("kind", [IALS, BPR])
def test_no_more_factors_are_tried_than_the_data_has_users_or_items(kind):
    rows = pl.DataFrame({"user_id": np.arange(300) % 50, "item_id": np.arange(300) % 90})
    few = Feedback.of(Dataset.of(rows.unique(), schema={}).as_train())
    assert kind.ladders(few)["factors"].values == (16, 32, 64)
    assert kind.ladders(few)["factors"].closed == (False, True)
