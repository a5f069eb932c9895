"""The contract of split methods: every registered one, and one of this test, does what its class says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from twotower.config import load_config
from twotower.config.sections import SplitConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.duplicates import deduplicate
from twotower.data.splits import SPLITS, HoldOut
from twotower.data.splitting import carve_validation, split, split_three
from twotower.errors import ConfigError, DataError


class Longest(HoldOut):
    """Holds out the rows with the highest labels."""

    name = "longest"
    summary = "the rows with the highest labels"
    rows_in_order = False

    def __init__(self, at_least: float = 0.0) -> None:
        self.at_least = at_least

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        del rng
        label = data.interactions.get_column("y").to_numpy()
        return np.asarray(label >= max(self.at_least, np.quantile(label, 1 - share)))


METHODS: list[HoldOut] = [
    *(kind() for kind in SPLITS.classes() if issubclass(kind, HoldOut)),
    Longest(),
]
EACH = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
SCHEMA = {"user": "u", "item": "i", "label": "y", "timestamp": "t"}


def dataset(users: list[int], items: list[int], times: list[float | None]) -> Dataset:
    frame = pl.DataFrame({"u": users, "i": items, "y": [float(n) for n in range(len(users))]})
    return Dataset.of(frame.with_columns(t=pl.Series(times, dtype=pl.Float64)), schema=SCHEMA)


def sample(n: int = 3000, seed: int = 0) -> Dataset:
    """Rows of 60 users with many and few of them; all times differ, and a twentieth have none."""
    rng = np.random.default_rng(seed)
    times = rng.permutation(n).astype(float)
    return dataset(
        (60 * rng.random(n) ** 2).astype(int).tolist(),
        rng.integers(0, 90, n).tolist(),
        [None if rng.random() < 0.05 else t for t in times],
    )


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    n = draw(st.integers(2, 60))
    ids = st.lists(st.integers(-3, 4), min_size=n, max_size=n)
    times = st.lists(st.none() | st.sampled_from([0.0, 1.0, 2.0]), min_size=n, max_size=n)
    return dataset(draw(ids), draw(ids), draw(times))


def rows(part: Dataset) -> list[float]:
    """The rows of a set, by their label, which numbers them."""
    return part.interactions.get_column("y").to_list()


def ids(part: Dataset, column: str) -> set[int]:
    return set(part.interactions.get_column(column))


@EACH
@settings(max_examples=40, deadline=None)
@given(data=datasets(), share=st.floats(0.05, 0.95), seed=st.integers(0, 2**40))
def test_the_sets_are_disjoint_and_together_complete(
    method: HoldOut, data: Dataset, share: float, seed: int
) -> None:
    try:
        train, test = split(data, method, test=share, seed=seed)
    except DataError as error:
        assume("every set needs at least one row" not in str(error))
        raise
    assert isinstance(train, TrainPart)
    assert not isinstance(test, TrainPart)
    assert sorted(rows(train) + rows(test)) == rows(deduplicate(data))
    assert rows(train) == sorted(rows(train)), "the order of the rows is kept"
    assert rows(test) == sorted(rows(test)), "the order of the rows is kept"
    for of, column in (("users", "u"), ("items", "i")):
        if method.cold == of:
            assert not ids(train, column) & ids(test, column)
        if method.warm == of:
            assert ids(test, column) <= ids(train, column)
    if method.by_time:
        assert test.interactions.get_column("t").null_count() == 0


@EACH
def test_the_same_seed_gives_the_same_sets(method: HoldOut) -> None:
    data = sample()
    first, again = (split(data, method, test=0.2, seed=7) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert_frame_equal(one.interactions, other.interactions)


@EACH
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.05, 0.6), seed=st.integers(0, 2**32))
def test_the_shares_are_those_asked_for(method: HoldOut, share: float, seed: int) -> None:
    data = deduplicate(sample())
    _, test = split(data, method, test=share, seed=seed)
    column = {"users": "u", "items": "i"}.get(method.share_of)
    if method.share_of == "nothing":
        assert rows(test) == rows(split(data, method, test=0.5 * share, seed=seed)[1])
    elif column is not None:
        assert len(ids(test, column)) == round(share * len(ids(data, column)))
    else:
        n = data.interactions.get_column("t").count() if method.share_of == "timed rows" else len(data)
        # users with one row may keep it
        assert len(test) == pytest.approx(share * n, abs=1 + 0.02 * n * (method.warm == "users"))


@EACH
def test_the_order_of_the_rows_matters_only_where_it_may(method: HoldOut) -> None:
    data = deduplicate(sample())
    shuffled = data.with_interactions(data.interactions.sample(fraction=1.0, shuffle=True, seed=3))
    held = [sorted(rows(split(of, method, test=0.2, seed=5)[1])) for of in (data, shuffled)]
    assert (held[0] == held[1]) is not method.rows_in_order


@EACH
def test_the_validation_set_is_another_draw_of_the_same_kind(method: HoldOut) -> None:
    parts = split_three(sample(), method, test=0.2, validation=0.2, seed=3)
    train, test = split(sample(), method, test=0.2, seed=3)
    assert rows(parts.test) == rows(test)
    assert sorted(rows(parts.train) + rows(parts.validation)) == rows(train)
    smaller, validation = carve_validation(train, method, 0.25, seed=3)
    assert rows(parts.validation) == rows(validation)
    assert rows(parts.train) == rows(smaller)


@EACH
def test_a_method_by_time_needs_one_and_others_do_not(method: HoldOut) -> None:
    data = sample()
    untimed = Dataset.of(data.interactions.drop("t"), schema={**SCHEMA, "timestamp": None})
    if method.by_time:
        with pytest.raises(ConfigError, match=f"'{method.name}' needs a timestamp"):
            split(untimed, method)
    else:
        assert len(split(untimed, method)[1])


@pytest.mark.parametrize("name", SPLITS.names())
def test_each_method_is_described(name: str) -> None:
    kind = SPLITS.get(name)
    assert kind.name == name
    assert kind.summary
    assert f"``{name}``" in (split.__doc__ or "") or kind.reads_files
    table = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert f"`{name}`" in table.partition("## Splits")[2].partition("For a method of")[0]
    config = {"files": {"train": "a.csv", "test": "b.csv"}, "column": {"column": "fold"}}.get(name, {})
    method = kind.of(settings_of := SplitConfig.model_validate({"method": name, **config}))
    assert isinstance(method, kind)
    assert name in kind.described(settings_of)


@pytest.mark.parametrize("method", [m for m in METHODS if m.name != "longest"], ids=lambda m: m.name)
def test_a_config_refuses_keys_that_the_method_does_not_read(method: HoldOut) -> None:
    for key, value, said in (
        ("train", "a.csv", "paths are only for method 'files'"),
        ("test", "a.csv", "paths are only for method 'files'"),
        ("column", "fold", "column is for method 'column'"),
    ):
        with pytest.raises(ValueError, match=said):
            SplitConfig.model_validate({"method": method.name, key: value})


# ---------------------------------------------------------------- one's own


def test_a_method_of_ones_own_is_given_as_an_object_or_by_its_name(tmp_path: Any) -> None:
    data = sample()
    _, test = split(data, Longest(at_least=2990.0), test=0.5)
    assert rows(test) == [float(n) for n in range(2990, 3000) if n in rows(deduplicate(data))]
    with pytest.raises(ConfigError, match="unknown split method 'longest'"):
        split(data, "longest")
    with SPLITS.temporarily(longest=Longest):
        assert rows(split(data, "longest", test=0.2)[1]) == rows(split(data, Longest(), test=0.2)[1])
        path = tmp_path / "config.toml"
        path.write_text('[data]\nsource = "kuairec-sample"\n[split]\nmethod = "longest"\n')
        config = load_config(path)
        assert config.split.kind() is Longest
        assert config.split.method == "longest"


@pytest.mark.parametrize("given", [np.ones(3), np.array([0, 1]), [], None], ids=repr)
def test_a_method_must_return_a_boolean_a_row(given: Any) -> None:
    class Odd(Longest):
        name = "odd"

        def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Any:
            return given

    with pytest.raises(DataError, match=r"hold_out of split method 'odd' must return a boolean for each"):
        split(sample(), Odd())


def test_a_share_of_nothing_is_not_shown() -> None:
    assert SPLITS.get("leave_last").described(SplitConfig(method="leave_last")) == "leave_last"
    assert (
        SPLITS.get("random").described(SplitConfig(test=0.2))
        == "random: test 20%, validation 20% of the rest"
    )
