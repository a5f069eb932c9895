"""Rating evaluation: slices against a case worked by hand, metrics against their plain definitions."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError
from twotower.evaluation import compare_ratings, durations, evaluate_rating
from twotower.evaluation.predictor import Predictor
from twotower.metrics import Interval, paired_difference, rating_report, xauc

SCHEMA = Schema(label="label", duration="seconds", display=("seconds",))


def dataset(users, items, labels, seconds=None, schema=SCHEMA):
    events = pl.DataFrame({"user_id": users, "item_id": items, "label": labels})
    if seconds is not None:
        return Dataset.of(
            events.with_columns(pl.Series("seconds", seconds)),
            schema=schema.model_copy(update={"display": ()}),
        )
    table = pl.DataFrame({"item_id": [1, 2, 3, 4, 5], "seconds": [10.0, 20.0, 30.0, 40.0, None]})
    return Dataset.of(events, items=table, schema=schema)


def by_hand():
    """Items 1 to 4 have 6, 3, 2, 1 train rows; item 5 and user 9 are cold."""
    items = [1] * 6 + [2] * 3 + [3] * 2 + [4]
    train = dataset([1, 2] * 6, items, [1.0] * 12).as_train()
    test = dataset([1, 1, 2, 2, 9, 9], [1, 2, 3, 4, 5, 1], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    return train, test, np.array([1.5, 2.0, 2.0, 4.0, 3.0, 6.5])


def test_slices_by_hand():
    train, test, prediction = by_hand()
    found = evaluate_rating(prediction, test, train, resamples=100)
    assert found.rows == 6
    seen = {
        group: {name: (part.rows, part.users, part.metrics["mae"].value) for name, part in members.items()}
        for group, members in found.slices.items()
    }
    assert seen == {
        "user": {"warm": (4, 2, 0.375), "cold": (2, 1, 1.25)},
        # Users 1 and 2 have 6 train rows each, and stay together; 9 is cold.
        "user_activity": {"low": (4, 2, 0.375)},
        "item": {"warm": (5, 3, 0.4), "cold": (1, 1, 2.0)},
        # A third of 12 rows is 4: item 1 alone holds 6, item 2 starts above a third, items 3 and 4 above two.
        "item_popularity": {
            "cold": (1, 1, 2.0),
            "tail": (2, 1, 0.5),
            "middle": (1, 1, 0.0),
            "head": (2, 2, 0.5),
        },
        # Train durations: 6 x 10, 3 x 20, 2 x 30, 40; quartiles 10, 15, 22.5.
        "item_duration": {"q1": (2, 2, 0.5), "q3": (1, 1, 0.0), "q4": (2, 1, 0.5), "unknown": (1, 1, 2.0)},
    }
    assert found.slices["item_popularity"]["tail"].bounds == (1.0, 2.0)
    assert found.slices["item_duration"]["q4"].bounds == (30.0, 40.0)
    assert found.slices["user"]["warm"].bounds is None


def test_users_are_cut_into_thirds_by_their_train_rows():
    train = dataset([1] * 1 + [2] * 2 + [3] * 3 + [4] * 9, [1] * 15, [1.0] * 15).as_train()
    test = dataset([4, 1, 3, 2, 1, 9], [1] * 6, [1.0] * 6)
    found = evaluate_rating([1.0] * 6, test, train, resamples=100).slices["user_activity"]
    # of the counts 1, 2, 3, 9 a third lies below 2, two thirds below 3
    assert {name: (part.rows, part.users, part.bounds) for name, part in found.items()} == {
        "low": (3, 2, (1.0, 2.0)),
        "middle": (1, 1, (3.0, 3.0)),
        "high": (1, 1, (9.0, 9.0)),
    }
    none = evaluate_rating([1.0], dataset([8], [1], [1.0]), train, resamples=100).slices
    assert "user_activity" not in none


def test_items_of_equal_counts_are_one_band():
    train = dataset([1, 2, 3, 4], [1, 2, 3, 4], [1.0] * 4).as_train()
    test = dataset([1, 2, 3], [1, 2, 3], [1.0, 2.0, 3.0])
    found = evaluate_rating([1.0, 1.0, 1.0], test, train, resamples=100)
    assert list(found.slices["item_popularity"]) == ["head"]


@pytest.fixture(scope="module")
def random_case():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 60, 4000), rng.integers(0, 90, 4000)
    labels = rng.lognormal(size=4000)
    seconds = np.where(rng.random(4000) < 0.1, np.nan, 5.0 + items)
    seconds = pl.Series(seconds).fill_nan(None)
    train = dataset(users[:3000] % 50, items[:3000] % 80, labels[:3000], seconds[:3000]).as_train()
    test = dataset(users[3000:], items[3000:], labels[3000:], seconds[3000:])
    return train, test, labels[3000:] + rng.normal(size=1000)


def test_metrics_are_those_of_the_metrics_package(random_case):
    train, test, prediction = random_case
    found = evaluate_rating(prediction, test, train, cap=2.0, resamples=200, seed=3)
    user, label = (test.interactions[c].to_numpy() for c in ("user_id", "label"))
    assert found.metrics == rating_report(user, label, prediction, cap=2.0, resamples=200, seed=3)
    capped = root_mean_squared_error(np.minimum(label, 2.0), np.minimum(prediction, 2.0))
    assert found.metrics["rmse_capped"].value == pytest.approx(capped)


@pytest.mark.parametrize("group", ["user", "item", "item_popularity", "item_duration"])
def test_a_slice_is_the_metric_of_its_rows_and_a_group_holds_all_rows(random_case, group):
    train, test, prediction = random_case
    slices = evaluate_rating(prediction, test, train, resamples=100).slices[group]
    assert sum(part.rows for part in slices.values()) == len(test)
    if group in {"user", "item"}:
        column = f"{group}_id"
        cold = ~test.interactions[column].is_in(train.interactions[column].implode()).to_numpy()
        label = test.interactions["label"].to_numpy()
        for name, where in (("cold", cold), ("warm", ~cold)):
            metrics = slices[name].metrics
            assert metrics["mae"].value == pytest.approx(mean_absolute_error(label[where], prediction[where]))
            assert metrics["xauc"].value == pytest.approx(xauc(label[where], prediction[where]))
            assert metrics["mae"].low < metrics["mae"].value < metrics["mae"].high


def test_order_of_rows_does_not_matter(random_case):
    train, test, prediction = random_case
    order = np.random.default_rng(1).permutation(len(test))
    shuffled = test.with_interactions(test.interactions[order])
    one = evaluate_rating(prediction, test, train, resamples=100).as_dict()
    other = evaluate_rating(prediction[order], shuffled, train, resamples=100).as_dict()
    assert flat(one) == pytest.approx(flat(other))


def flat(values, prefix=""):
    if isinstance(values, list):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        return {prefix: values}
    return {k: v for name, inner in values.items() for k, v in flat(inner, f"{prefix}/{name}").items()}


def test_text_ids_give_what_integer_ids_in_the_same_order_give(random_case):
    train, test, prediction = random_case

    def named(part):
        events = part.interactions.with_columns(
            pl.format("u{}", pl.col("user_id").cast(pl.String).str.zfill(3)).alias("user_id"),
            pl.format("i{}", pl.col("item_id")).alias("item_id"),
        )
        return Dataset.of(events, schema=test.schema)

    one = evaluate_rating(prediction, test, train, resamples=100)
    assert evaluate_rating(prediction, named(test), named(train), resamples=100) == one


def test_as_dict_is_json_without_nan():
    train, test, prediction = by_hand()
    found = evaluate_rating(prediction, test, train, cap=5.0, resamples=100).as_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    cold = found["slices"]["item"]["cold"]["metrics"]
    assert cold["mae"] == {"value": 2.0, "low": None, "high": None}  # one user: nothing to resample
    assert cold["r2"]["value"] is None
    assert set(found) == {"rows", "metrics", "slices"}


class Constant(Predictor):
    name = "constant"

    def predict(self, data):
        return np.full(len(data), 2.0)


def test_a_predictor_is_asked():
    train, test, _ = by_hand()
    asked = evaluate_rating(Constant(), test, train, resamples=100)
    assert asked.as_dict() == evaluate_rating(np.full(6, 2.0), test, train, resamples=100).as_dict()


def test_without_a_duration_role_there_is_no_such_group():
    events = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "label": [1.0, 2.0]})
    data = Dataset.of(events, schema=Schema(label="label"))
    assert durations(data) is None
    assert "item_duration" not in evaluate_rating([1.0, 1.0], data, data, resamples=100).slices


def test_durations_come_from_the_interactions_first_and_are_else_joined_by_id():
    assert durations(dataset([1, 1, 2], [3, 5, 1], [1.0] * 3)) == pytest.approx([30, np.nan, 10], nan_ok=True)
    logged = dataset([1, 1], [3, 5], [1.0] * 2, seconds=[7.0, None])
    assert durations(logged) == pytest.approx([7, np.nan], nan_ok=True)


def test_a_duration_column_in_neither_table_is_refused():
    whole = dataset([1], [1], [1.0], seconds=[7.0])
    data = whole.with_interactions(whole.interactions.drop("seconds"))
    with pytest.raises(DataError, match="'seconds'"):
        durations(data)


def test_no_label_is_refused():
    data = Dataset.of(pl.DataFrame({"user_id": [1], "item_id": [1]}), schema=Schema())
    with pytest.raises(ConfigError, match="label"):
        evaluate_rating([1.0], data, data)


@pytest.mark.parametrize("wrong", [[1.0] * 5, [1.0] * 5 + [np.nan]])
def test_predictions_that_do_not_fit_are_refused(wrong):
    train, test, _ = by_hand()
    with pytest.raises(DataError):
        evaluate_rating(wrong, test, train)


def test_comparison(random_case):
    train, test, prediction = random_case
    user, label = (test.interactions[c].to_numpy() for c in ("user_id", "label"))
    mean = np.full(len(test), label.mean())
    found = compare_ratings(
        {"ours": prediction, "mean": mean}, test, train, against="mean", resamples=100, seed=2
    )
    assert found.models["ours"] == evaluate_rating(prediction, test, train, resamples=100, seed=2)
    assert found.differences == {
        "ours": paired_difference(user, label, prediction, mean, cap=None, resamples=100, seed=2)
    }
    assert found.differences["ours"]["xauc"].low > 0
    as_dict = found.as_dict()
    assert json.loads(json.dumps(as_dict, allow_nan=False)) == as_dict
    assert (as_dict["rows"], as_dict["against"]) == (1000, "mean")


def test_a_model_against_its_copy_differs_by_nothing(random_case):
    train, test, prediction = random_case
    found = compare_ratings({"a": prediction, "b": prediction}, test, train, against="b", resamples=100)
    assert set(found.differences["a"].values()) == {Interval(0.0, 0.0, 0.0)}


def test_comparison_against_an_unknown_model_suggests_one():
    train, test, prediction = by_hand()
    with pytest.raises(ConfigError, match="Did you mean 'biases'"):
        compare_ratings({"biases": prediction}, test, train, against="biase")
