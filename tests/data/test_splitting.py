"""Laws of the splits: nothing lost, nothing on both sides, shares right, and each method's own promise."""

import itertools
import re
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from twotower.data.dataset import Dataset, TrainPart
from twotower.data.duplicates import deduplicate
from twotower.data.splits.random import Random
from twotower.data.splitting import carve_validation, parts_of, split, split_three
from twotower.errors import ConfigError, DataError

METHODS = ["random", "per_user", "temporal", "leave_last", "cold_items", "cold_users"]
SCHEMA: dict[str, Any] = {"user": "u", "item": "i", "label": "y", "timestamp": "t"}


def dataset(users: list[Any], items: list[Any], times: list[float | None], **schema: Any) -> Dataset:
    frame = pl.DataFrame(
        {
            "u": users,
            "i": items,
            "y": [float(n) for n in range(len(users))],
            "t": pl.Series(times, dtype=pl.Float64),
        }
    )
    return Dataset.of(frame, schema={**SCHEMA, **schema})


def sample(n: int = 4000, users: int = 50, items: int = 80, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    times: list[float | None] = [None if rng.random() < 0.05 else float(t) for t in rng.integers(0, 1000, n)]
    people = (users * rng.random(n) ** 2).astype(int).tolist()
    return dataset(people, rng.integers(0, items, n).tolist(), times)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    n = draw(st.integers(1, 60))
    names = draw(st.sampled_from([[1, 2, 3, 4, 5], ["a", "b", "c", "d", "é"], [10**15, -4, 7, 0, 10**9]]))
    users = draw(st.lists(st.sampled_from(names), min_size=n, max_size=n))
    items = draw(st.lists(st.sampled_from(names), min_size=n, max_size=n))
    times = draw(
        st.lists(st.one_of(st.none(), st.sampled_from([-1.0, 0.0, 1.0, 2.0])), min_size=n, max_size=n)
    )
    return dataset(users, items, times)


def labels(part: Dataset) -> list[float]:
    """The labels, which number the rows of the data they came from, unless a test gives others."""
    return part.interactions.get_column("y").to_list()


def refused(error: type[Exception], *parts: str) -> AbstractContextManager[object]:
    """Expect an error whose message has these parts in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(re.escape(part) for part in parts))


# ---------------------------------------------------------------- duplicates


def test_copies_are_dropped_and_counted() -> None:
    data = dataset([1, 1, 2, 1, 1, 1], [7, 7, 7, 7, 7, 8], [1.0, 1.0, 1.0, None, None, 1.0])
    data = data.with_interactions(data.interactions.with_columns(y=pl.Series([0.0, 0, 2, 3, 3, 5])))
    out = deduplicate(data)
    assert labels(out) == [0, 2, 3, 5]
    assert out.notes == ("dropped 2 duplicate rows, 33.3% of all (same user, item, timestamp)",)
    assert deduplicate(out) is out


def test_without_timestamps_user_and_item_decide() -> None:
    out = deduplicate(dataset([1, 1, 2], [7, 7, 7], [1.0, 2.0, 1.0], timestamp=None))
    assert labels(out) == [1, 2]
    assert out.notes == (
        "2 rows of 1 event (same user, item) differ in their y: merged into 1, the largest y of each is "
        "kept (data.repeats = 'max')",
    )


@pytest.mark.parametrize("repeats", ["max", "last", "first", "mean", "sum"])
@settings(max_examples=40, deadline=None)
@given(data=datasets(), values=st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=60, max_size=60))
def test_repeats_agree_with_plain_python(repeats: str, data: Dataset, values: list[float]) -> None:
    data = data.with_interactions(data.interactions.with_columns(y=pl.Series(values[: len(data)])))
    events: dict[tuple[object, ...], list[float]] = {}
    for row in data.interactions.iter_rows(named=True):
        found = events.setdefault((row["u"], row["i"], row["t"]), [])
        if row["y"] not in found:
            found.append(row["y"])
    rule = {
        "max": max,
        "first": lambda y: y[0],
        "last": lambda y: y[-1],
        "sum": sum,
        "mean": lambda y: sum(y) / len(y),
    }[repeats]
    out = deduplicate(data, repeats)
    assert {(row["u"], row["i"], row["t"]): row["y"] for row in out.interactions.iter_rows(named=True)} == {
        event: pytest.approx(rule(y)) for event, y in events.items()
    }
    assert len(out) == len(events)
    if repeats == "max":
        for least in (1.0, 2.0):
            assert sum(y >= least for y in labels(out)) == sum(max(y) >= least for y in events.values())


def test_repeats_keep_the_row_that_they_choose() -> None:
    frame = pl.DataFrame(
        {"u": [1, 1, 1, 2], "i": [7, 7, 7, 7], "y": [0, 1, 1, 0], "w": [9, 2, 3, 1], "d": [5, 6, 7, 8]}
    )
    schema = {"user": "u", "item": "i", "label": "y", "weight": "w", "duration": "d"}
    data = Dataset.of(frame, schema=schema)
    rows = {name: deduplicate(data, name).interactions.rows()[0][2:] for name in ("max", "first", "last")}
    assert rows == {"max": (1, 3, 7), "first": (0, 9, 5), "last": (1, 3, 7)}
    assert deduplicate(data, "sum").interactions.rows()[0][2:] == (2, pytest.approx(14 / 3), 5)
    with refused(
        DataError, "repeats = 'refuse'", "data rows 1 and 2", "(u 1, i 7) have 0 and 1; this concerns 3 rows"
    ):
        deduplicate(data, "refuse")
    with refused(ConfigError, "repeats must be one of max, last", "got 'maxi'", "Did you mean 'max'?"):
        split(data, repeats="maxi")


def test_without_a_time_sums_count_equal_rows() -> None:
    """They may be several events: five plays are five."""
    frame = pl.DataFrame({"u": [1, 1, 1, 2], "i": [7, 7, 7, 7], "y": [1, 1, 3, 1], "t": [1, 1, 1, 1]})
    untimed = Dataset.of(frame, schema={**SCHEMA, "timestamp": None})
    timed = Dataset.of(frame, schema=SCHEMA)
    assert labels(deduplicate(untimed, "sum")) == [5, 1]
    assert labels(deduplicate(timed, "sum")) == [4, 1], "equal rows of one moment are copies"
    assert labels(deduplicate(untimed, "max")) == [3, 1]


def test_rows_of_one_hash_are_compared_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "twotower.data.duplicates.row_hashes", lambda rows: np.zeros(rows.height, dtype=np.uint64)
    )
    data = sample(300)
    twice = data.with_interactions(pl.concat([data.interactions, data.interactions]))
    assert len(deduplicate(twice)) == data.interactions.n_unique(["u", "i", "t"])


# ---------------------------------------------------------------- laws of all methods


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(data=datasets(), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**40))
def test_parts_are_disjoint_and_together_the_deduplicated_data(
    method: str, data: Dataset, share: float, seed: int
) -> None:
    whole = deduplicate(data)
    try:
        train, test = split(data, method, test=share, seed=seed)
    except DataError as error:
        assume("every set needs at least one row" not in str(error))
        raise
    assert isinstance(train, TrainPart)
    assert not isinstance(test, TrainPart)
    assert sorted(labels(train) + labels(test)) == labels(whole)
    assert labels(train) == sorted(labels(train)), "the order of the rows is kept"
    assert train.users is data.users
    again = split(data, method, test=share, seed=seed)
    assert_frame_equal(again[0].interactions, train.interactions)

    train_u, train_i, train_t = (train.interactions.get_column(c).to_list() for c in "uit")
    test_u, test_i, test_t = (test.interactions.get_column(c).to_list() for c in "uit")
    if method == "random":
        assert len(test) == round(share * len(whole))
    if method in ("per_user", "leave_last"):
        assert set(test_u) <= set(train_u)
    if method == "per_user":
        for user, rows in whole.interactions.group_by("u"):
            taken = test_u.count(user[0])
            assert abs(taken - share * rows.height) < 1 or taken == rows.height - 1
    if method == "temporal":
        assert None not in test_t
        timed = [x for x in train_t if x is not None]
        assert not timed or max(timed) < min(test_t)
    if method == "leave_last":
        assert None not in test_t
        assert len(set(test_u)) == len(test_u)
        for row in test.interactions.iter_rows(named=True):
            of_user = whole.interactions.filter((pl.col("u") == row["u"]) & pl.col("t").is_not_null())
            assert (row["t"], row["y"]) == max(of_user.select("t", "y").iter_rows())
        lone = whole.interactions.filter(pl.len().over("u") == 1).get_column("u").to_list()
        assert not set(lone) & set(test_u)
    if method == "cold_items":
        assert not set(train_i) & set(test_i)
        assert len(set(test_i)) == round(share * len({*train_i, *test_i}))
    if method == "cold_users":
        assert not set(train_u) & set(test_u)
        assert len(set(test_u)) == round(share * len({*train_u, *test_u}))


@pytest.mark.parametrize("method", METHODS)
def test_three_parts(method: str) -> None:
    data = sample()
    whole = deduplicate(data)
    parts = split_three(data, method, test=0.2, validation=0.1, seed=3)
    assert isinstance(parts.train, TrainPart)
    assert sorted(labels(parts.train) + labels(parts.validation) + labels(parts.test)) == labels(whole)
    assert labels(parts.test) == labels(split(data, method, test=0.2, seed=3)[1])
    n = len(whole)
    timed = whole.interactions.get_column("t").count()
    want = {
        "random": (0.2 * n, 0.1 * n, 1.0),
        "per_user": (0.2 * n, 0.1 * n, 2.0),
        "temporal": (0.2 * timed, 0.1 * timed, 10.0),
    }
    if method in want:
        test, validation, off = want[method]
        assert len(parts.test) == pytest.approx(test, abs=off)
        assert len(parts.validation) == pytest.approx(validation, abs=off)
    if method.startswith("cold"):
        column = method[5]
        ids = [set(p.interactions.get_column(column)) for p in (parts.train, parts.validation, parts.test)]
        assert all(not a & b for a, b in itertools.combinations(ids, 2))
        total = sum(len(i) for i in ids)
        assert [len(i) for i in ids[1:]] == [round(0.1 * total), round(0.2 * total)]
    if method == "temporal":
        times = [p.interactions.get_column("t") for p in (parts.train, parts.validation, parts.test)]
        assert times[0].max() < times[1].min() <= times[1].max() < times[2].min()  # type: ignore[operator]


def test_untimed_rows_are_noted_once() -> None:
    data = sample()
    untimed = deduplicate(data).interactions.get_column("t").null_count()
    parts = split_three(data, "temporal")
    note = f"kept {untimed:,} interactions without a timestamp in the training set"
    assert parts.train.notes.count(note) == parts.validation.notes.count(note) == 1


def test_seeds_and_streams_differ() -> None:
    data = sample()
    first, second = (split(data, seed=seed)[1] for seed in (1, 2))
    assert labels(first) != labels(second)
    train = deduplicate(data)
    test_rows, validation_rows = labels(split(train, seed=1)[1]), labels(carve_validation(train, seed=1)[1])
    assert len(set(test_rows) & set(validation_rows)) < len(test_rows) / 2


def test_the_draw_is_pinned() -> None:
    """A change here changes every published number; it must be meant."""
    data = dataset([1, 1, 1, 2, 2, 2, 3, 3, 3, 3], list(range(10)), [float(t) for t in range(10)])
    assert {m: labels(split(data, m, test=0.3, seed=42)[1]) for m in METHODS} == PINNED


def test_random_rows_are_uniform() -> None:
    data = dataset([1, 1, 1, 2], [1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0])
    counts = np.zeros(4)
    for seed in range(400):
        counts[[int(y) for y in labels(split(data, test=0.25, seed=seed)[1])]] += 1
    assert counts.sum() == 400
    assert np.all(np.abs(counts - 100) < 45)  # five standard deviations


def test_per_user_takes_from_short_histories_too() -> None:
    """With 3 rows a user and a share of 0.1, rounding each user alone would hold out nothing at all."""
    data = dataset([n // 3 for n in range(300)], list(range(300)), [None] * 300)
    train, test = split(data, "per_user", test=0.1)
    assert len(test) == 30
    assert train.interactions.get_column("u").n_unique() == 100


# ---------------------------------------------------------------- one method at a time


def test_temporal_keeps_equal_times_together_and_untimed_rows_in_train() -> None:
    data = dataset([1] * 8, list(range(8)), [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0, None])
    train, test = split(data, "temporal", test=0.3)  # 2 of 7 wanted: 1 is nearer than 6
    assert labels(test) == [6]
    assert train.notes == test.notes == ("kept 1 interaction without a timestamp in the training set",)
    train, test = split(data, "temporal", test=0.8)  # 6 of 7 wanted
    assert labels(test) == [1, 2, 3, 4, 5, 6]


def test_leave_last_takes_the_later_row_of_a_tie() -> None:
    data = dataset(
        ["a", "a", "a", "b", "c", "c", "d", "d"], list("pqrstuvw"), [2, 5, 5, 9, None, 1, None, None]
    )
    train, test = split(data, "leave_last")
    assert labels(test) == [2, 5]
    assert set(train.interactions.get_column("u")) == {"a", "b", "c", "d"}


def test_sparse_ids_are_no_trouble() -> None:
    data = dataset([10**18, -(10**18), 10**18, -(10**18)] * 5, list(range(20)), [float(t) for t in range(20)])
    for method in METHODS:
        train, test = split(data, method, test=0.5)
        assert len(train) + len(test) == 20


# ---------------------------------------------------------------- parts from files


def test_leaking_rows_are_dropped_from_train() -> None:
    train = dataset([1, 1, 2, 2, 3, 3], [1, 2, 3, 4, 5, 5], [1.0, 2.0, None, 4.0, 5.0, 5.0])
    test = dataset([1, 2, 9], [2, 3, 9], [2.0, None, 9.0])
    validation = dataset([2, 9], [4, 9], [4.0, 9.0])
    parts = parts_of(train, test, validation)
    assert labels(parts.train) == [0, 5]
    assert labels(parts.validation) == [0], "what is also in test is dropped from validation"
    assert labels(parts.test) == [0, 1, 2]
    assert parts.train.notes == (
        "2 rows of 1 event (same user, item, timestamp) differ in their y: merged into 1, the largest y of "
        "each is kept (data.repeats = 'max')",
        "dropped 2 rows of the training set, 40.0% of all, also in the test set (same user, item, timestamp)",
        "dropped 1 row of the training set, 33.3% of all, also in the validation set (same user, "
        "item, timestamp)",
    )
    assert isinstance(parts.train, TrainPart)
    for part in (parts.train, parts.validation, parts.test):
        assert sorted(part.users.get_column("u")) == [1, 2, 3, 9]
        assert sorted(part.items.get_column("i")) == [1, 2, 3, 4, 5, 9]


def test_validation_is_carved_by_time_or_at_random() -> None:
    data, test = sample(), dataset([1], [1], [5000.0])
    parts = parts_of(data, test, validation_share=0.2)
    last = parts.validation.interactions.get_column("t")
    assert parts.train.interactions.get_column("t").max() < last.min()  # type: ignore[operator]
    plain = dataset([n // 10 for n in range(100)], list(range(100)), [1.0] * 100, timestamp=None)
    parts = parts_of(plain, dataset([1], [99], [1.0], timestamp=None), validation_share=0.2)
    assert (len(parts.validation), len(parts.train)) == (20, 80)


def test_parts_with_ids_of_different_types_still_meet() -> None:
    train, test = dataset([1, 2, 3], [1, 2, 3], [1.0, 2.0, 3.0]), dataset(["3", "x"], [3, 4], [3.0, 4.0])
    parts = parts_of(train, test, validation_share=0.5)
    assert len(parts.train) + len(parts.validation) == 2
    assert parts.train.interactions.schema["u"] == parts.test.interactions.schema["u"] == pl.String


def test_compact_ids_stay_compact() -> None:
    data = dataset([1, 2, 3], [1, 2, 3], [1.0, 2.0, 3.0])
    small = Dataset.of(data.interactions.cast({"u": pl.Int32, "i": pl.Int16}), schema=SCHEMA)
    parts = parts_of(
        small, Dataset.of(small.interactions.with_columns(pl.col("t") + 9), schema=SCHEMA), None, 0.4
    )
    for part in (parts.train, parts.validation, parts.test):
        assert part.interactions.dtypes[:2] == [pl.Int32, pl.Int16]


def test_parts_must_fit_together() -> None:
    train = dataset([1, 2, 3], [1, 2, 3], [1.0, 2.0, 3.0])
    with refused(ConfigError, "the same schema", "test"):
        parts_of(train, dataset([1], [1], [1.0], label=None))
    with refused(DataError, "training set has none", "different rows"):
        parts_of(train, train)


def test_tables_of_parts_must_have_the_same_columns() -> None:
    frame = pl.DataFrame({"u": [1, 2], "i": [1, 2], "t": [1.0, 2.0]})
    schema = {**SCHEMA, "label": None, "users": {"job": "category"}}
    one = Dataset.of(frame, pl.DataFrame({"u": [1, 2], "job": ["a", "b"]}), schema=schema)
    two = Dataset.of(frame, pl.DataFrame({"u": [1, 2], "job": [1, 2]}), schema=schema)
    with refused(DataError, "users of all sets must have the same columns and types", "job"):
        parts_of(one, two)


# ---------------------------------------------------------------- bad settings


def test_unknown_method_suggests_the_nearest() -> None:
    with refused(ConfigError, "unknown split method 'leave_latest'", "Did you mean 'leave_last'?"):
        split(sample(100), "leave_latest")
    with refused(ConfigError, "a split method is a name or an object, got the class Random; give Random()"):
        split(sample(100), Random)  # type: ignore[arg-type]
    with refused(ConfigError, "unknown split method 'xyz'", "Valid: random, per_user"):
        split(sample(100), "xyz")
    with refused(ConfigError, "cold_users, column."):
        split(sample(100), "xyz")
    with refused(ConfigError, "Did you mean 'leave_last'?"):
        split(sample(100), "last_n")
    with refused(ConfigError, "Did you mean 'temporal'?"):
        split(sample(100), "time_range")


def test_a_mask_is_no_column() -> None:
    with refused(ConfigError, "must be the name of a column", "got Series", "give its name"):
        split(sample(100), "column", column=pl.Series([True] * 100))  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1, float("nan"), "0.1", True, None])
def test_shares_lie_between_0_and_1(share: Any) -> None:
    with refused(ConfigError, "the share of the test set must be between 0 and 1", repr(share)):
        split(sample(100), test=share)
    with refused(ConfigError, "the share of the validation set"):
        split_three(sample(100), validation=share)
    with refused(ConfigError, "the share of the validation set"):
        carve_validation(sample(100), share=share)


def test_shares_leave_something_to_train_on() -> None:
    with refused(ConfigError, "add up to less than 1", "0.6 + 0.5"):
        split_three(sample(100), test=0.6, validation=0.5)


@pytest.mark.parametrize("seed", [-1, 1.5, "7", None, True])
def test_seeds_are_integers(seed: Any) -> None:
    with refused(ConfigError, "a seed must be an integer of 0 or more", repr(seed)):
        split(sample(100), seed=seed)


@pytest.mark.parametrize("method", ["temporal", "leave_last"])
def test_methods_by_time_need_a_timestamp(method: str) -> None:
    with refused(ConfigError, f"'{method}' needs a timestamp", "[schema] timestamp"):
        split(dataset([1, 1], [1, 2], [1.0, 2.0], timestamp=None), method)
    with refused(DataError, "leaves the test set empty", "without a timestamp"):
        split(dataset([1, 1], [1, 2], [None, None]), method)


def test_empty_parts_are_refused() -> None:
    data = dataset([1, 2, 3], [1, 2, 3], [1.0, 2.0, 3.0])
    with refused(
        DataError,
        "'random' with a share of 0.1 leaves the test set empty (rows: train 3, test 0)",
        "larger share",
    ):
        split(data, test=0.1)
    with refused(DataError, "leaves the training set empty (rows: train 0, test 3)"):
        split(data, test=0.9)
    with refused(DataError, "'per_user'", "leaves the test set empty"):
        split(data, "per_user", test=0.5)
    with refused(DataError, "leaves the validation set empty (rows: train 2, validation 0)"):
        split_three(data, test=0.4, validation=0.1)


PINNED = {
    "random": [1, 4, 8],
    "per_user": [0, 3, 7],
    "temporal": [7, 8, 9],
    "leave_last": [2, 5, 9],
    "cold_items": [1, 4, 8],
    "cold_users": [3, 4, 5],
}
