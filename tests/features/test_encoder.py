"""Encoders of every feature kind: fitted on training rows only, with codes for unknown and missing values."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

from twotower.config.kinds import kind_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import DataError, TrainPartError
from twotower.features import Bag, Codes, Dense, Encoder
from twotower.features.categories import Categories
from twotower.features.category import Category
from twotower.features.log_number import LogNumber
from twotower.features.number import Number
from twotower.features.numeric import BINS, CLIP
from twotower.features.timestamp import Timestamp
from twotower.features.value_codes import MISSING, UNKNOWN, ValueCodes
from twotower.features.vector import Vector
from twotower.towers.encoded_table import EncodedTable

KINDS = {
    "age": "number",
    "fans": "log_number",
    "city": "category",
    "tags": "categories",
    "face": "vector",
    "bio": "text",
    "born": "timestamp",
}


def users(ids: list[int], seed: int = 0) -> pl.DataFrame:
    """Random features of every kind."""
    rng = np.random.default_rng(seed)
    n = len(ids)
    return pl.DataFrame(
        {
            "user_id": ids,
            "age": rng.normal(40.0, 10.0, n),
            "fans": rng.integers(0, 10_000, n).astype(float),
            "city": [f"c{i}" for i in rng.integers(0, 5, n)],
            "tags": [[f"t{i}" for i in rng.integers(0, 6, rng.integers(0, 4))] for _ in range(n)],
            "face": rng.normal(size=(n, 3)).astype(np.float32).tolist(),
            "bio": ["".join(rng.choice(list("abcdef 猫狗"), 12)) for _ in range(n)],
            "born": rng.uniform(0, 1e9, n),
        }
    )


def train_part(table: pl.DataFrame, warm: list[int]) -> TrainPart:
    events = pl.DataFrame({"user_id": warm, "item_id": [1] * len(warm), "y": np.arange(len(warm)) * 1.0})
    return Dataset.of(events, table, schema={"label": "y", "users": KINDS}).as_train()


def saved(encoder: Encoder) -> str:
    """The encoder's whole fitted state as one string."""
    states = {}
    for name, column in encoder.users.columns.items():
        states[name] = [column.state(), {key: value.tolist() for key, value in column.arrays().items()}]
    return json.dumps([states, encoder.users.warm_ids.to_list()])


def dense(block: Any) -> np.ndarray:
    assert isinstance(block, Dense)
    return block.values


def test_only_rows_with_train_interactions_are_looked_at() -> None:
    warm, cold = list(range(30)), list(range(30, 60))
    ours = users(warm, seed=1)
    one = pl.concat([ours, users(cold, seed=2)])
    two = pl.concat([users(cold, seed=3).with_columns(pl.col("age") * 1e6), ours])
    first, second = Encoder.fit(train_part(one, warm)), Encoder.fit(train_part(two, warm))
    assert saved(first) == saved(second)
    other = Encoder.fit(train_part(users(warm, seed=4), warm))
    assert saved(first) != saved(other), "the comparison can't see a difference"


def test_a_row_counts_once_however_many_interactions_it_has() -> None:
    table = users(list(range(20)))
    once = Encoder.fit(train_part(table, list(range(20))))
    often = Encoder.fit(train_part(table, list(range(20)) + [3] * 50))
    assert saved(once) == saved(often)


@pytest.mark.parametrize("cut", [lambda d: d, lambda d: d.with_interactions(d.interactions)])
def test_an_encoder_is_fitted_on_a_train_part_only(cut: Any) -> None:
    part = train_part(users([1, 2, 3]), [1, 2, 3])
    plain = Dataset(part.interactions, part.users, part.items, part.schema)
    with pytest.raises(TrainPartError, match=r"must be fitted on a training set .* got Dataset"):
        Encoder.fit(cut(plain))


def test_rows_are_numbered_by_the_warm_ids_and_cold_ones_are_0() -> None:
    table = users([50, 7, 9, 3])
    encoder = Encoder.fit(train_part(table, [9, 50, 50, 3]))
    assert encoder.users.warm_ids.to_list() == [3, 9, 50]
    side = encoder.users.transform(table)
    assert side.warm.tolist() == [3, 0, 2, 1]
    assert side.rows == 4
    assert list(side.blocks) == list(KINDS)


def test_the_catalogue_has_a_row_of_missing_features_for_warm_ids_without_one() -> None:
    table = users([5, 6, 7])
    part = train_part(table, [6, 99, 7])
    encoder = Encoder.fit(part)
    full = EncodedTable.of(encoder.users, part, torch.device("cpu")).table
    assert full["user_id"].to_list() == [5, 6, 7, 99]
    assert full.row(3, named=True) == {"user_id": 99, **dict.fromkeys(KINDS)}
    blocks = encoder.users.transform(full).blocks
    for name in ("age", "fans", "face", "bio", "born"):
        last = dense(blocks[name])[3]
        assert last[-1] == 1.0, name
        assert not last[:-1].any(), name
        assert not dense(blocks[name])[:3, -1].any(), name
    city, tags = blocks["city"], blocks["tags"]
    assert isinstance(city, Codes)
    assert isinstance(tags, Bag)
    assert city.codes[3] == MISSING
    assert tags.codes[tags.indptr[3] : tags.indptr[4]].tolist() == [MISSING]


def test_every_kind_comes_back_from_its_saved_form() -> None:
    table = users(list(range(40)))
    encoder = Encoder.fit(train_part(table, list(range(25))))
    for name, column in encoder.users.columns.items():
        again = kind_of(KINDS[name]).restore(json.loads(json.dumps(column.state())), column.arrays())
        before, after = column.transform(table[name]), again.transform(table[name])
        assert type(before) is type(after)
        for key, value in vars(before).items():
            npt.assert_array_equal(value, getattr(after, key), err_msg=name)


# number, log_number, timestamp


def test_bins_by_hand() -> None:
    # 13 evenly spaced values: the quantiles at k/12 are the values themselves
    column = pl.Series("x", np.arange(13.0))
    encoder = Number().fit(column)
    npt.assert_allclose(encoder.edges, np.arange(13.0), atol=1e-12)
    assert len(encoder.edges) == BINS + 1
    block = encoder.transform(pl.Series("x", [-5.0, 2.25, 100.0])).values
    assert block.shape == (3, 1 + 12 + 1)
    sd = math.sqrt(sum((i - 6.0) ** 2 for i in range(13)) / 13)
    npt.assert_allclose(block[:2, 0], [-11.0 / sd, -3.75 / sd], rtol=1e-6)
    assert block[2, 0] == CLIP
    assert block[0, 1:13].tolist() == [-0.5] * 12
    assert block[1, 1:13].tolist() == [0.5, 0.5, -0.25] + [-0.5] * 9
    assert block[2, 1:13].tolist() == [0.5] * 12
    assert block[:, 13].tolist() == [0.0, 0.0, 0.0]


def test_log_number_is_number_of_the_logarithm() -> None:
    values = np.array([0.0, 1.0, 10.0, 1000.0, 50.0])
    asked = np.array([3.0, 0.0, 1e9])
    log = LogNumber().fit(pl.Series(values)).transform(pl.Series(asked)).values
    plain = Number().fit(pl.Series(np.log(1 + values)))
    npt.assert_allclose(log, plain.transform(pl.Series(np.log(1 + asked))).values, atol=1e-6)


def test_a_constant_column_is_zero_and_has_no_bins() -> None:
    encoder = Number().fit(pl.Series([7.0] * 9))
    npt.assert_array_equal(
        encoder.transform(pl.Series([7.0, 9.0, None, 1e30])).values,
        np.array([[0, 0], [2, 0], [0, 1], [CLIP, 0]], np.float32),
    )


def test_a_column_that_is_null_in_train() -> None:
    encoder = Number().fit(pl.Series([None, None], dtype=pl.Float64))
    assert encoder.transform(pl.Series([None, 3.0], dtype=pl.Float64)).values.tolist() == [[0, 1], [3, 0]]


def test_nulls_do_not_move_mean_or_bins() -> None:
    with_nulls = Number().fit(pl.Series([1.0, None, 2.0, 4.0, None]))
    without = Number().fit(pl.Series([1.0, 2.0, 4.0]))
    assert with_nulls.state() == without.state()


def test_timestamps_turn_once_a_day_and_once_a_week() -> None:
    # 1970-01-01 was a Thursday; 18:00 is three quarters of a day
    day = 86_400.0
    moments = pl.Series([0.0, 18 / 24 * day, 3.5 * day, 7 * day])
    encoder = Timestamp().fit(pl.Series([0.0, 1e9]))
    block = encoder.transform(moments).values
    sines, cosines = block[:, -5:-3], block[:, -3:-1]
    npt.assert_allclose(sines[:, 0], [0, -1, 0, 0], atol=1e-6)
    npt.assert_allclose(cosines[:, 0], [1, 0, -1, 1], atol=1e-6)
    week = 2 * math.pi * np.array([0, 0.75, 3.5, 7]) / 7
    npt.assert_allclose(sines[:, 1], np.sin(week), atol=1e-6)
    npt.assert_allclose(cosines[:, 1], np.cos(week), atol=1e-6)


# category, categories


def test_codes_by_hand() -> None:
    encoder = Category().fit(pl.Series(["b", "a", "b", None, "a", "once", None]))
    block = encoder.transform(pl.Series(["a", "b", "once", "never", None]))
    assert block.codes.tolist() == [2, 3, UNKNOWN, UNKNOWN, MISSING]
    assert block.size == 4


def test_integers_of_any_width_are_the_same_category() -> None:
    encoder = Category().fit(pl.Series([10, 10, -3, -3], dtype=pl.Int64))
    assert encoder.transform(pl.Series([-3, 10, 4], dtype=pl.Int8)).codes.tolist() == [2, 3, UNKNOWN]
    assert encoder.transform(pl.Series(["10", "x", None])).codes.tolist() == [3, UNKNOWN, MISSING]


def test_a_category_that_is_null_in_train() -> None:
    encoder = Category().fit(pl.Series([None, None], dtype=pl.String))
    assert encoder.transform(pl.Series(["a", None])).codes.tolist() == [UNKNOWN, MISSING]


def test_bags_by_hand() -> None:
    encoder = Categories().fit(pl.Series([["a", "b"], ["b", "a", "rare"], [], None]))
    block = encoder.transform(pl.Series([["b", "a", "b"], [], ["never"], None, ["rare", "a"]]))
    assert block.indptr.tolist() == [0, 3, 4, 5, 6, 8]
    assert block.codes.tolist() == [3, 2, 3, MISSING, UNKNOWN, MISSING, UNKNOWN, 2]
    assert block.size == 4


def test_bags_without_an_entry_anywhere() -> None:
    encoder = Categories().fit(pl.Series([[], None], dtype=pl.List(pl.Int64)))
    block = encoder.transform(pl.Series([[], None, [4]], dtype=pl.List(pl.Int64)))
    assert block.codes.tolist() == [MISSING, MISSING, UNKNOWN]
    nothing = encoder.transform(pl.Series([[], None], dtype=pl.List(pl.Int64)))
    assert nothing.indptr.tolist() == [0, 1, 2]
    assert nothing.codes.tolist() == [MISSING, MISSING]


def test_an_empty_table_has_empty_blocks() -> None:
    encoder = Encoder.fit(train_part(users(list(range(9))), list(range(9))))
    side = encoder.users.transform(users(list(range(9))).clear())
    assert side.rows == 0
    assert {block.rows for block in side.blocks.values()} == {0}


def test_a_vocabulary_keeps_values_seen_often_enough() -> None:
    column = pl.Series([5, 5, 5, 8, 8, 1])
    assert ValueCodes.fit(column, 2).ids.to_list() == [5, 8]
    assert ValueCodes.fit(column, 3).ids.to_list() == [5]
    assert ValueCodes.fit(column).ids.to_list() == [1, 5, 8]


# vector


def test_vectors_are_scaled_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    train = (rng.normal(size=(50, 4)) * [1, 10, 1, 0.1] + 3).astype(np.float32)
    block = (
        Vector()
        .fit(pl.Series(train.tolist(), dtype=pl.List(pl.Float32)))
        .transform(pl.Series([train[0].tolist(), None, train[1].tolist()], dtype=pl.List(pl.Float32)))
    )
    centred = train - train.mean(axis=0)
    expected = centred / np.sqrt((centred**2).mean())
    npt.assert_allclose(block.values[[0, 2], :4], expected[:2], rtol=1e-4, atol=1e-5)
    assert block.values[1].tolist() == [0, 0, 0, 0, 1]
    assert block.values[[0, 2], 4].tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], [[1.0], [1.0, 2.0, 3.0, 4.0, 5.0]], [[1.0] * 4]])
def test_a_vector_of_another_length_is_refused(wrong: list[list[float]]) -> None:
    encoder = Vector().fit(pl.Series("face", [[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]))
    with pytest.raises(DataError, match=r"vector of 'face' must have 3 numbers.* got one of"):
        encoder.transform(pl.Series("face", wrong))


def test_vectors_of_two_lengths_in_train_are_refused() -> None:
    with pytest.raises(DataError, match="must have 3 numbers"):
        Vector().fit(pl.Series("face", [[1.0, 2.0, 3.0], [0.0, 1.0], [0.0, 1.0, 2.0, 3.0]]))


def test_a_vector_column_without_a_vector_is_refused() -> None:
    with pytest.raises(DataError, match="'face' is empty in every training row; remove it"):
        Vector().fit(pl.Series("face", [None, None], dtype=pl.List(pl.Float32)))


@pytest.mark.parametrize(("rows", "least"), [(40, 2), (299, 2), (300, 3), (5000, 5)])
def test_rare_values_are_unknown_the_more_rows_there_are(rows: int, least: int) -> None:
    often, seldom = ["often"] * least, ["seldom"] * (least - 1)
    values = pl.Series([*often, *seldom, *["rest"] * (rows - 2 * least + 1)])
    assert Category().fit(values).codes.ids.to_list() == ["often", "rest"]


def test_a_value_of_a_list_is_known_from_two_rows_on() -> None:
    lists = pl.Series([["often", "twice"], ["often", "once"], ["twice"], *[["often"]] * 5000])
    assert Categories().fit(lists).codes.ids.to_list() == ["often", "twice"]
