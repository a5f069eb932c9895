"""Experiments from tables, against loops over users."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower.errors import ConfigError, DataError
from twotower.evaluation import analyse
from twotower.evaluation.experiment import OUTCOMES

SHARES = {"old": 50.0, "new": 50.0}
DAY = 86_400.0


def tables(n: int = 600, lift: float = 0.0, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    run = np.array(["old", "new"])[rng.permutation(n) % 2]
    first = rng.uniform(0, 3 * DAY, n)
    exposures = pl.DataFrame(
        {"user": [f"u{i}" for i in range(n)], "run": run, "version": ["v"] * n, "time": first}
    )
    count = rng.poisson(np.where(run == "new", 2.0 + lift, 2.0))
    who = np.repeat(np.arange(n), count)
    events = pl.DataFrame(
        {
            "user": [f"u{i}" for i in who],
            "kind": rng.choice(["interaction", "skip"], len(who), p=[0.8, 0.2]),
            "value": [None if rng.random() < 0.1 else float(rng.integers(1, 6)) for _ in who],
            "time": first[who] + rng.uniform(-0.5 * DAY, 1.5 * DAY, len(who)),
        }
    )
    return exposures, events


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("cap", [None, 2.0])
def test_means_are_those_of_a_loop_over_users(outcome: str, cap: float | None) -> None:
    exposures, events = tables()
    now, window = 2.5 * DAY, DAY
    found = analyse(exposures, events, SHARES, outcome=outcome, window=window, now=now, cap=cap)
    outcomes: dict[str, list[float]] = {run: [] for run in SHARES}
    rows = events.to_dicts()
    for user in exposures.to_dicts():
        if user["time"] + window > now:
            continue
        own = [
            row for row in rows if row["user"] == user["user"] and 0 <= row["time"] - user["time"] < window
        ]
        done = [row for row in own if row["kind"] == "interaction"]
        value = {
            "interactions": len(done),
            "active": float(bool(done)),
            "value": sum(row["value"] or 0.0 for row in done),
            "skips": len(own) - len(done),
        }[outcome]
        outcomes[user["run"]].append(value if cap is None else min(value, cap))
    for group in found.groups:
        assert group.users == len(outcomes[group.run])
        assert group.mean == pytest.approx(np.mean(outcomes[group.run]))
    less = np.mean(outcomes["new"]) - np.mean(outcomes["old"])
    assert found.differences["new"].value == pytest.approx(less)
    waiting = sum(time + window > now for time in exposures["time"])
    assert any(note.startswith(f"{waiting} users not counted yet") for note in found.notes)


def test_a_verdict_says_which_is_better_or_that_it_is_not_known() -> None:
    def says(**given: Any) -> str:
        exposures, events = tables(4000, **given)
        return analyse(exposures, events, SHARES, now=10 * DAY).verdict("new")

    assert says().startswith("new and old are not known to differ")
    assert says(lift=1.0).startswith("new has more than old: interactions per user +0.")
    assert says(lift=-1.0).startswith("new has less than old")
    few = analyse(*tables(100), SHARES, now=10 * DAY)
    assert "can't be compared yet" in few.verdict("new")
    turned = analyse(*tables(4000, lift=1.0), SHARES, now=10 * DAY, base="new")
    assert turned.groups[0].run == "new"
    assert turned.verdict("old").startswith("old has less than new")


def test_a_split_that_users_did_not_follow_is_no_experiment() -> None:
    exposures, events = tables(4000, lift=1.0)
    lost = exposures.filter((pl.col("run") == "old") | (pl.int_range(pl.len()) % 5 > 0))
    found = analyse(lost, events, SHARES, now=10 * DAY)
    assert not found.trusted
    assert "can't be compared: users did not come in the shares" in found.verdict("new")
    assert any("sample ratio mismatch" in note for note in found.notes)
    assert analyse(exposures, events, SHARES, now=10 * DAY).trusted


def test_users_of_two_models_are_left_out_and_several_models_share_the_error() -> None:
    exposures, events = tables(2000)
    both = exposures.head(5).with_columns(
        run=pl.when(pl.col("run") == "old").then(pl.lit("new")).otherwise(pl.lit("old"))
    )
    found = analyse(pl.concat([exposures, both]), events, SHARES, now=10 * DAY)
    assert sum(group.users for group in found.groups) == 1995
    assert any(note.startswith("5 users left out, who got lists of more than one") for note in found.notes)
    third = exposures.with_columns(
        run=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("third")).otherwise("run")
    )
    shares = dict.fromkeys(("old", "new", "third"), 100 / 3)
    three = analyse(third, events, shares, now=10 * DAY)
    alone = analyse(third.filter(pl.col("run") != "third"), events, SHARES, now=10 * DAY, level=0.975)
    assert three.differences["new"] == alone.differences["new"]
    renamed = exposures.with_columns(
        version=pl.when(pl.col("time") > DAY).then(pl.lit("w")).otherwise("version")
    )
    assert "new was reloaded: 2 versions answered" in analyse(renamed, events, SHARES, now=10 * DAY).notes


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"outcome": "value_"}, ConfigError, "outcome must be one of .* Did you mean 'value'"),
        ({"window": 0.0}, ConfigError, "window must be a time above 0"),
        ({"cap": -1.0}, ConfigError, "cap must be a number above 0"),
        ({"base": "nobody"}, ConfigError, "base must be one of old, new"),
        ({"shares": {"old": 100.0, "new": 0.0}}, DataError, "needs two models with a share"),
        ({"shares": {"a": 50.0, "b": 50.0}}, DataError, "nobody was answered by a or b"),
    ],
)
def test_what_can_not_be_analysed_is_refused(given: dict[str, Any], error: type, message: str) -> None:
    exposures, events = tables(50)
    shares = given.pop("shares", SHARES)
    with pytest.raises(error, match=message):
        analyse(exposures, events, shares, now=10 * DAY, **given)


def test_what_has_no_part_in_the_experiment_is_counted() -> None:
    exposures, events = tables(50)
    third = exposures.with_columns(
        run=pl.when(pl.int_range(pl.len()) < 7).then(pl.lit("third")).otherwise("run")
    )
    strange = pl.concat([events, events.head(4).with_columns(user=pl.lit("nobody"))])
    found = analyse(third, strange, SHARES, now=10 * DAY)
    assert "7 users left out, who got lists of other models only (third)" in found.notes
    assert f"4 events of {len(events) + 4:,} left out, of users who got no list" in found.notes
    assert not any("left out" in note for note in analyse(exposures, events, SHARES, now=10 * DAY).notes)


@pytest.mark.parametrize("column", ["time", "value"])
def test_numbers_that_are_not_finite_are_refused(column: str) -> None:
    exposures, events = tables(50)
    with pytest.raises(DataError, match=f"each {column} of an experiment must be finite"):
        analyse(exposures, events.with_columns(pl.lit(np.nan).alias(column)), SHARES, now=10 * DAY)
