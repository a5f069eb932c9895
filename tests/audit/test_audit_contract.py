"""What every check promises: a name, no change to the data, and no alarm over what it can't judge."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from twotower.audit import CHECKS, Case, Check, Severity
from twotower.audit.checks.alignment import Alignment
from twotower.config import Config, SplitConfig
from twotower.data.dataset import Dataset
from twotower.datasets.configured import WHOLE


def case(data: Dataset, **config: object) -> Case:
    values = {"data": {"interactions": "x.csv"}, "schema": data.schema.model_dump(exclude_none=True)}
    values["objective"] = {"name": "all_pairs"} if data.schema.label is None else {"name": "squared"}
    return Case(Config.model_validate({**values, **config}), {WHOLE: data})


def events(n: int = 200, users: int = 20, items: int = 15, **columns: object) -> pl.DataFrame:
    pairs = np.random.default_rng(0).choice(users * items, n, replace=False)
    return pl.DataFrame({"user_id": pairs // items, "item_id": pairs % items, **columns})


def normal(n: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=n)


ODD: dict[str, Callable[[], Dataset]] = {
    "no label": lambda: Dataset.of(events(), schema={}),
    "two rows": lambda: Dataset.of(
        pl.DataFrame({"user_id": [1, 2], "item_id": [1, 1], "y": [1.0, 2.0]}), schema={"label": "y"}
    ),
    "a constant label": lambda: Dataset.of(events(y=np.ones(200)), schema={"label": "y"}),
    "string ids": lambda: Dataset.of(
        events(y=normal(200)).with_columns(pl.col("user_id", "item_id").cast(pl.String)),
        schema={"label": "y"},
    ),
    "no times": lambda: Dataset.of(
        events(y=normal(200), t=pl.Series([None] * 200, dtype=pl.Float64)),
        schema={"label": "y", "timestamp": "t"},
    ),
    "every kind, half missing": lambda: Dataset.of(
        events(y=normal(200)),
        pl.DataFrame({"user_id": range(20)}),
        pl.DataFrame(
            {
                "item_id": range(15),
                "n": [None, 1.5, 2.5] * 5,
                "l": [None, 1.0, 20.0] * 5,
                "c": [None, "a", "b"] * 5,
                "s": [None, ["a"], []] * 5,
                "v": [None, [1.0, 2.0], [0.5, 1.0]] * 5,
                "w": [None, "some text", "more"] * 5,
                "d": [None, 1e9, 1.1e9] * 5,
            }
        ),
        schema={
            "label": "y",
            "items": {
                "n": "number",
                "l": "log_number",
                "c": "category",
                "s": "categories",
                "v": "vector",
                "w": "text",
                "d": "timestamp",
            },
        },
    ),
    "a duration": lambda: Dataset.of(
        events(y=normal(200)),
        items=pl.DataFrame({"item_id": range(15), "d": [None, 5.0, 9.0] * 5}),
        schema={"label": "y", "duration": "d"},
    ),
}


def test_names_are_distinct_and_described() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for check in CHECKS:
        assert check.name == check.name.lower().replace(" ", "-").replace("_", "-")
        assert check.looks_for
        assert check.__doc__
        assert issubclass(check, Check)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_odd_data_is_no_alarm_and_is_left_alone(check: type[Check], odd: str) -> None:
    data = ODD[odd]()
    looked_at = case(data)
    before = (data.interactions.clone(), data.users.clone(), data.items.clone())
    findings = list(check().run(looked_at))
    assert [f for f in findings if f.severity is not Severity.NOTE] == []
    for frame, was in zip((data.interactions, data.users, data.items), before, strict=True):
        assert frame.equals(was)
    assert all(f.check == check.name and f.where and f.what and f.evidence and f.fix for f in findings)


@pytest.mark.parametrize("method", ["random", "per_user", "cold_items", "cold_users"])
def test_noise_is_no_alarm(method: str) -> None:
    rng = np.random.default_rng(3)
    n = 20_000
    users = pl.DataFrame(
        {"user_id": np.arange(400), "age": rng.integers(18, 80, 400), "x": rng.normal(size=400)}
    )
    data = Dataset.of(
        events(n, 400, 300, y=rng.normal(size=n)),
        users,
        pl.DataFrame({"item_id": np.arange(300), "c": rng.integers(0, 9, 300)}),
        schema={"label": "y", "users": {"age": "number", "x": "number"}, "items": {"c": "category"}},
    )
    looked_at = case(data, split=SplitConfig(method=method).model_dump(exclude_none=True))  # type: ignore[arg-type]
    found = [f for check in CHECKS for f in check().run(looked_at) if f.severity is not Severity.NOTE]
    assert found == []


@pytest.mark.parametrize("seed", range(6))
def test_columns_that_drift_along_the_table_are_not_misaligned(seed: int) -> None:
    """Ids by date of entry: feature, popularity and label all drift, but mean nothing of each other."""
    rng = np.random.default_rng(seed)
    items, n = 600, 30_000
    age = np.linspace(-1, 1, items)
    item = rng.choice(items, n, p=np.exp(2 * age) / np.exp(2 * age).sum())
    y = 0.7 * age[item] + 0.3 * rng.normal(size=items)[item] + rng.normal(size=n)
    data = Dataset.of(
        pl.DataFrame({"user_id": rng.integers(0, 300, n), "item_id": item, "y": y, "t": np.arange(n)}),
        items=pl.DataFrame({"item_id": np.arange(items), "year": 2000 + 10 * age + rng.normal(size=items)}),
        schema={"label": "y", "timestamp": "t", "items": {"year": "number"}},
    )
    assert list(Alignment().run(case(data))) == []
