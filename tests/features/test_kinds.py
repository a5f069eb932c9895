"""The contract of every feature kind: reading, fitting, encoding, the saved form; and a kind of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

import twotower as tt
from twotower.config.kinds import KINDS, ColumnEncoder, FeatureKind, kind_of
from twotower.core.blocks import Bag, Block, Codes, Dense, Form
from twotower.core.where import Found, Where
from twotower.errors import ConfigError, DataError, RenamedWarning
from twotower.features import SideEncoder
from twotower.features.categories import Categories
from twotower.features.log_number import LogNumber
from twotower.features.number import Number
from twotower.features.timestamp import Timestamp
from twotower.features.value_codes import MISSING, UNKNOWN
from twotower.features.vector import Vector

WHERE = Where("users.csv", "x")


class Sign(FeatureKind):
    """Whether a number is above a bound."""

    dtype = pl.Float64
    bound: float = 0.0

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        if not (values.dtype.is_numeric() or values.dtype == pl.Null):
            raise where.wrong_type("a sign must be a number", values, "Name a column of numbers")
        return values.cast(pl.Float64)

    def fit(self, column: pl.Series) -> SignEncoder:
        return SignEncoder(self.bound, float(column.abs().max() or 1.0))  # type: ignore[arg-type]

    def restore(self, state: dict[str, Any], arrays: dict[str, Any]) -> SignEncoder:
        return SignEncoder(self.bound, float(state["largest"]))


@dataclass(frozen=True)
class SignEncoder(ColumnEncoder):
    bound: float
    largest: float

    @property
    def form(self) -> Form:
        return Form(Dense, 2)

    def transform(self, column: pl.Series) -> Dense:
        above = np.sign(column.fill_null(self.bound).to_numpy() - self.bound)
        return Dense(np.stack([above, column.is_null().to_numpy()], axis=1).astype(np.float32))

    def state(self) -> dict[str, Any]:
        return {"largest": self.largest}


@dataclass(frozen=True)
class Sample:
    """A kind with settings, values as they come, values that the first ones lack, and an invalid column."""

    kind: FeatureKind
    values: list[Any]
    others: list[Any]
    invalid: list[Any]


NUMBERS = ["1,5 kg", "20 kg", None, "1.003,25 kg", "7 kg", "7 kg", "0,5 kg"]
SAMPLES = {
    "number": Sample(Number(decimal=",", unit="kg"), NUMBERS, ["-3 kg", "1.000.000 kg"], ["7 kg", "heavy"]),
    "log_number": Sample(LogNumber(), [3, 0, None, 10_000, 55, 55, 8], [1e12, 0.5], [1, -1]),
    "category": Sample(kind_of("category"), [*"abba", None, *"cc"], ["d", "A"], [1.0, 1.5]),
    "categories": Sample(
        Categories(separator="; "), ["a; b", "b", None, "c; b; a", "", "c", "c"], ["d", "d; a"], ["[1", "[2]"]
    ),
    "vector": Sample(
        Vector(), [[1.0, 2.0], [0.5, -1.0], None, [3.0, 3.0]], [[9e6, 0.0]], [[1.0], [1.0, 2.0]]
    ),
    "text": Sample(
        kind_of("text"), ["ab cd", "cd ef", None, "", "猫 ab", "ab cd"], ["zz", "zz ab"], [["a"], ["b"]]
    ),
    "timestamp": Sample(
        Timestamp(format="%d.%m.%Y"), ["01.02.2020", "31.12.2021", None, "15.06.2020"], ["01.01.1999"], ["x"]
    ),
    "calendar": Sample(
        kind_of("calendar"),
        ["2024-03-01 07:30", "2024-03-02 23:59", None, "2024-03-03"],
        ["2024-03-04 11:00"],
        ["x"],
    ),
    "test_kinds:Sign": Sample(Sign(bound=1.5), [1.0, 2.0, None, -4.0], [1.5, 1e9], ["a"]),
}
NAMES = [*KINDS.names(), "test_kinds:Sign"]


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    """The own kind is registered in this module's tests alone."""
    with KINDS.temporarily(Sign):
        yield


@pytest.fixture(params=NAMES)
def sample(request: pytest.FixtureRequest) -> Sample:
    """A sample of each registered kind."""
    assert request.param in SAMPLES, "add a sample of the new kind"
    found = SAMPLES[request.param]
    assert found.kind.name == request.param
    return found


def read(kind: FeatureKind, values: list[Any]) -> pl.Series:
    return kind.read(pl.Series("x", values, strict=False), WHERE, Found())


def rows(block: Block) -> list[Any]:
    """Each row of a block as a plain value."""
    if isinstance(block, Dense):
        assert block.values.dtype == np.float32
        assert np.isfinite(block.values).all()
        return [tuple(row.tolist()) for row in block.values]
    assert block.codes.dtype == np.int32
    assert ((block.codes >= 0) & (block.codes < block.size)).all()
    if isinstance(block, Codes):
        return block.codes.tolist()
    assert block.indptr.dtype == np.int64
    assert (np.diff(block.indptr) > 0).all()
    return [tuple(part.tolist()) for part in np.split(block.codes, block.indptr[1:-1])]


def test_a_kind_has_a_name_and_a_description(sample: Sample) -> None:
    kind = type(sample.kind)
    assert KINDS.get(sample.kind.name) is kind
    assert str(sample.kind) == sample.kind.name == sample.kind
    assert kind.described().endswith((".", ")"))


def test_settings_are_written_and_read_back(sample: Sample) -> None:
    again = kind_of(json.loads(json.dumps(sample.kind.plain())))
    assert again == sample.kind
    assert hash(again) == hash(sample.kind)
    schema = tt.Schema(users={"x": sample.kind}, items={"x": sample.kind})
    assert tt.Schema.model_validate_json(schema.model_dump_json(), strict=True) == schema
    if sample.kind.settings:
        assert type(sample.kind)() != sample.kind


def test_what_is_read_is_read_again_without_a_change(sample: Sample) -> None:
    once = read(sample.kind, sample.values)
    found = Found()
    assert_series_equal(type(sample.kind)().read(once, WHERE, found), once)
    assert not found.notes
    assert not found.settings
    assert once.null_count() > 0


def test_a_column_without_a_value_has_the_dtype_of_its_kind(sample: Sample) -> None:
    column = read(sample.kind, [None, None])
    assert column.dtype == sample.kind.dtype
    assert column.to_list() == [None, None]


def test_an_invalid_value_is_refused_with_table_and_column(sample: Sample) -> None:
    with pytest.raises(DataError, match=r"users\.csv.*column 'x'"):
        read(sample.kind, sample.invalid)


def test_a_missing_value_has_a_part_of_its_own(sample: Sample) -> None:
    column = read(sample.kind, sample.values)
    for training in (column, column.drop_nulls()):
        encoder = sample.kind.fit(training)
        parts = rows(encoder.transform(column))
        missing = {part for part, value in zip(parts, column, strict=True) if value is None}
        assert len(missing) == 1
        filled = column.list.len() > 0 if isinstance(column.dtype, pl.List) else column.cast(pl.String) != ""
        assert not missing & {part for part, there in zip(parts, filled, strict=True) if there}


def test_values_that_the_training_set_lacks_are_encoded(sample: Sample) -> None:
    column = read(sample.kind, sample.values)
    both = read(sample.kind, [*sample.values, *sample.others])
    encoder = sample.kind.fit(column)
    new = encoder.transform(both[len(column) :])
    assert len(rows(new)) == len(sample.others)
    if isinstance(new, Codes):
        assert set(new.codes.tolist()) <= {UNKNOWN}
    elif isinstance(new, Bag):
        assert UNKNOWN in new.codes
        assert MISSING not in new.codes


@settings(deadline=None, max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_others(name: str, data: st.DataObject) -> None:
    sample = SAMPLES[name]
    column = read(sample.kind, [*sample.values, *sample.others])
    encoder = sample.kind.fit(column[: len(sample.values)])
    whole = rows(encoder.transform(column))
    taken = data.draw(st.lists(st.integers(0, len(column) - 1), min_size=1, max_size=12))
    assert rows(encoder.transform(column.gather(taken))) == [whole[row] for row in taken]


def test_fitting_is_deterministic_and_the_saved_form_has_all_of_it(sample: Sample) -> None:
    column = read(sample.kind, [*sample.values, *sample.others])
    first, second = sample.kind.fit(column), sample.kind.fit(column)
    assert json.dumps(first.state(), sort_keys=True) == json.dumps(second.state(), sort_keys=True)
    arrays = {key: value.copy() for key, value in first.arrays().items()}
    for key, value in second.arrays().items():
        npt.assert_array_equal(value, arrays[key])
    again = sample.kind.restore(json.loads(json.dumps(first.state())), arrays)
    assert rows(again.transform(column)) == rows(first.transform(column))
    assert set(again.arrays()) == set(arrays)


def test_a_saved_form_without_its_values_is_refused(sample: Sample) -> None:
    with pytest.raises((KeyError, ValueError)):
        sample.kind.restore({}, {})


def test_a_fit_of_missing_values_alone_encodes_or_is_refused(sample: Sample) -> None:
    nothing = read(sample.kind, [None, None, None])
    try:
        encoder = sample.kind.fit(nothing)
    except DataError as error:
        assert "'x' is empty in every training row" in str(error)  # noqa: PT017
        return
    assert len(set(rows(encoder.transform(nothing)))) == 1
    column = read(sample.kind, sample.values)
    assert len(rows(encoder.transform(column))) == len(column)


def test_an_empty_column_gives_an_empty_block(sample: Sample) -> None:
    column = read(sample.kind, sample.values)
    assert sample.kind.fit(column).transform(column.clear()).rows == 0


def test_groups_are_one_value_a_row(sample: Sample) -> None:
    column = read(sample.kind, sample.values)
    groups = sample.kind.grouped(column)
    if sample.kind.meaning == "tags":
        assert groups is not None
    if groups is not None:
        assert len(groups) == len(column)
        assert not groups.dtype.is_nested()
        assert groups.null_count() >= column.null_count()


def test_a_kind_that_reads_rows_alone_reads_them_as_it_reads_many(sample: Sample) -> None:
    if sample.kind.alone:
        each = [read(sample.kind, [value]).to_list()[0] for value in sample.values]
        assert each == read(sample.kind, sample.values).to_list()


# what only some kinds do


def test_new_times_are_seconds() -> None:
    assert Timestamp().of_new_rows() == Timestamp(format="number")
    assert Timestamp(format="ms").of_new_rows() == Timestamp(format="ms")


def test_a_calendar_is_the_hour_and_the_day_of_the_week() -> None:
    # a Monday at 0:00, the Sunday before at 23:59, and nothing known; then a Tuesday at 0:10
    encoder = kind_of("calendar").fit(pl.Series([1_704_067_200.0, 1_704_067_140.0, None]))
    assert encoder.state() == {"known": [0, 23, 24 + 0, 24 + 6]}
    found = encoder.transform(pl.Series([1_704_067_200.0, 1_704_067_140.0, None, 1_704_154_200.0, -1.0]))
    assert rows(found) == [(2, 26), (25, 32), (MISSING,), (2, UNKNOWN), (25, UNKNOWN)]


def test_found_settings_fill_what_is_not_set() -> None:
    assert Number(unit="kg").filled({"decimal": ",", "unit": "g", "format": "ms"}) == Number(
        decimal=",", unit="kg"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("numbre", r"'x' must be one of number, .*; got 'numbre'\. Did you mean 'number'\?"),
        (7, r"'x' must be one of number, .*; got 7"),
        ("elsewhere:Kind", r"'x': kind 'elsewhere:Kind' is a class that this program doesn't have; import"),
        ({"decimal": ","}, r"'x\.kind' is missing"),
        ({"kind": "number", "decimal": ";"}, r"'x\.decimal' must be one of \., , ; got ';'"),
        ({"kind": "text", "unit": "kg"}, r"'x': unit is only for kind number and log_number, not 'text'"),
        ({"kind": "number", "units": "kg"}, r"unknown key 'x\.units'\. Did you mean 'unit'\?"),
    ],
)
def test_what_is_no_kind_is_refused(given: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        kind_of(given, "x")


def test_names_as_attributes_work_with_a_warning() -> None:
    with pytest.warns(RenamedWarning, match=r"Kind\.LOG_NUMBER is now written 'log_number'"):
        assert tt.Schema(users={"x": tt.Kind.LOG_NUMBER}).users == {"x": LogNumber()}
    assert set(tt.Kind) == set(KINDS.names())
    with pytest.raises(AttributeError, match=r"there is no Kind\.NUMBRE"):
        _ = tt.Kind.NUMBRE


# blocks


class Odd(ColumnEncoder):
    """An encoder that does not keep the contract."""

    def __init__(self, block: Any) -> None:
        self.block = block

    form = Form(Dense, 1)

    def transform(self, column: pl.Series) -> Any:
        return self.block


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (np.zeros((2, 1)), "must return Dense, Codes or Bag; column 'x' gave ndarray"),
        (Dense(np.zeros((3, 1), np.float32)), r"must have the 2 rows of its column.*; 'x' has 3"),
        (Dense(np.zeros((2, 2), np.float32)), "the form Dense of 1; 'x' has 2 and Dense of 2"),
        (Codes(np.zeros(2, np.int32), 1), "the form Dense of 1; 'x' has 2 and Codes of 1"),
    ],
)
def test_a_block_of_another_kind_or_length_is_an_error(block: Any, said: str) -> None:
    side = SideEncoder("id", pl.Series("id", [1, 2]), {"x": Odd(block)})
    with pytest.raises(TypeError, match=said):
        side.transform(pl.DataFrame({"id": [1, 2], "x": [0, 0]}))


# a kind of one's own, in a model


LOADING = """
import sys
import twotower as tt
from twotower.errors import BundleError
sys.path.insert(0, sys.argv[2])
try:
    tt.load(sys.argv[1])
except BundleError as error:
    assert "own_kind" not in sys.modules
    print(error)
from own_kind import Parity
from twotower.features import KINDS
KINDS.register(Parity)
print(tt.load(sys.argv[1]).recommend(tt.Query(features={"x": 3}), k=1)["item_id"][0])
"""
OWN = '''
"""A kind of one's own."""
import numpy as np
import polars as pl
from twotower.features import Codes, ColumnEncoder, FeatureKind, Form

class Parity(FeatureKind):
    """Whether a number is even."""
    dtype = pl.Int64
    def read(self, values, where, found):
        return values.cast(pl.Int64)
    def fit(self, column):
        return Fitted()
    def restore(self, state, arrays):
        return Fitted()

class Fitted(ColumnEncoder):
    form = Form(Codes, 4)
    def transform(self, column):
        return Codes((column % 2 + 2).fill_null(1).to_numpy().astype(np.int32), 4)
'''


def test_a_kind_of_ones_own_is_saved_by_name_and_never_imported_by_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_kind.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from own_kind import Parity  # type: ignore[import-not-found]

    rng = np.random.default_rng(0)
    events = pl.DataFrame({"user_id": rng.integers(0, 60, 900), "item_id": rng.integers(0, 20, 900)})
    events = events.with_columns(y=(pl.col("user_id") % 2 == pl.col("item_id") % 2).cast(pl.Float64))
    users = pl.DataFrame({"user_id": range(60), "x": range(60)})
    schema = tt.Schema(label="y", users={"x": Parity()})
    assert schema.model_dump(mode="json")["users"] == {"x": "own_kind:Parity"}
    model = tt.TwoTower(dim=4, objective="squared", threads=1).fit(
        tt.Dataset.of(events, users, schema=schema).as_train()
    )
    best = model.recommend(tt.Query(features={"x": 3}), k=1)["item_id"][0]
    assert best % 2 == 1
    model.save(tmp_path / "bundle")

    command = [sys.executable, "-c", LOADING, str(tmp_path / "bundle"), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    refused, found = said.strip().rsplit("\n", 1)
    assert (
        "from own_kind import Parity; from twotower.features import KINDS; KINDS.register(Parity)" in refused
    )
    assert found == str(best)
