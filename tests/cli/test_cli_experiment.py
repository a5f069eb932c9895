"""``twotower experiment``: of a store that a server filled, and of tables."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from twotower.server.exposures import Exposures
from twotower.server.store import Event, SqliteStore
from twotower.server.traffic import Traffic

TRAFFIC = Traffic({"old": 50.0, "new": 50.0}, "s")
LONG_AGO = 1_700_000_000.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of 600 users of a split, of whom those of `new` do more, and of an earlier split."""
    path = tmp_path_factory.mktemp("store") / "events.db"

    async def fill() -> None:
        kept = SqliteStore(path)
        await kept.open()
        exposures, rng, events = Exposures(kept), np.random.default_rng(0), []
        exposures.saw("0", "old", "v0", Traffic({"old": 90.0, "new": 10.0}, "s"))
        for user in map(str, range(600)):
            run = TRAFFIC.model_of(user)
            exposures.saw(user, run, "v1", TRAFFIC)
            exposures.saw(user, run, "v1", TRAFFIC)
            events += [
                Event(f"{user} {n}", user, "1", "interaction", 1.0, LONG_AGO + 60)
                for n in range(rng.poisson(4.0 if run == "new" else 2.0))
            ]
        await exposures.flush()
        await kept.append(events)
        await kept.close()

    with pytest.MonkeyPatch.context() as patch:
        times = iter(range(10_000))
        patch.setattr("twotower.server.exposures.time.time", lambda: LONG_AGO + next(times) / 1000)
        asyncio.run(fill())
    return path


def test_a_store_says_which_was_better(call, store: Path, tmp_path: Path) -> None:
    window = ("--window", "1h")
    found = call("experiment", store, *window, "--write-exposures", tmp_path / "who.parquet")
    assert found.code == 0, found.err
    assert "new has more than old: interactions per user +" in found.out
    assert "1 earlier split" in found.err
    as_json = call("experiment", store, *window, "--json").json
    assert as_json["trusted"]
    counts = {group["run"]: group["users"] for group in as_json["groups"]}
    expected = [TRAFFIC.model_of(str(user)) for user in range(600)]
    assert counts == {run: expected.count(run) for run in ("old", "new")}
    who = pl.read_parquet(tmp_path / "who.parquet")
    assert dict(who.select("user", "run").iter_rows()) == dict(
        zip(map(str, range(600)), expected, strict=True)
    )


def test_tables_of_another_system_say_the_same(call, tmp_path: Path) -> None:
    rng, users = np.random.default_rng(1), np.arange(800)
    run = np.where(rng.permutation(800) % 2, "a", "b")
    start = pl.Series([LONG_AGO] * 800).cast(pl.Int64) * 1_000_000
    exposures = pl.DataFrame({"user_id": users, "run": run, "at": start.cast(pl.Datetime("us", "UTC"))})
    exposures.write_parquet(tmp_path / "e.parquet")
    counts = rng.poisson(np.where(run == "a", 3.0, 1.0))
    events = pl.DataFrame({"user_id": np.repeat(users, counts)}).with_columns(at=pl.lit(LONG_AGO + 60))
    last = pl.DataFrame({"user_id": [0], "at": [LONG_AGO + 7200.0]})
    pl.concat([events, last]).write_csv(tmp_path / "events.csv")
    given = ("--exposures", tmp_path / "e.parquet", "--split", "a=50,b=50", "--window", "1h")
    names = ("--column", "user=user_id", "--column", "time=at")
    found = call("experiment", tmp_path / "events.csv", *given, *names, "--json")
    assert found.code == 0, found.err
    difference = found.json["differences"]["b"]
    assert difference["value"] == pytest.approx(counts[run == "b"].mean() - counts[run == "a"].mean())
    assert difference["high"] < 0
    wrong = call("experiment", tmp_path / "events.csv", *given)
    assert wrong.code == 2
    assert "needs the column 'user'" in wrong.err


EXPOSURES = pl.DataFrame({"user": ["a", "b"], "run": ["old", "new"], "time": [LONG_AGO, LONG_AGO]})
EVENTS = pl.DataFrame(
    {"user": ["a", "b"], "time": ["2023-11-14T22:13:50Z", "2023-11-14T22:14:00Z"], "value": ["1.5", "NA"]}
)


def analysed(call, folder: Path, events: pl.DataFrame):
    EXPOSURES.with_columns(pl.col("time") * 1000).write_csv(folder / "who.csv")
    events.write_parquet(folder / "events.parquet")
    given = ("--exposures", folder / "who.csv", "--split", "old=50,new=50", "--window", "40s")
    return call("experiment", folder / "events.parquet", *given, "--metric", "value", "--json")


def test_times_are_read_like_those_of_interactions(call, tmp_path: Path) -> None:
    """Milliseconds in one table and ISO text in the other, the second event at the end of its window."""
    found = analysed(call, tmp_path, EVENTS)
    assert found.code == 0, found.err
    assert {group["run"]: group["mean"] for group in found.json["groups"]} == {"old": 1.5, "new": 0.0}
    assert [group["users"] for group in found.json["groups"]] == [1, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (pl.lit("x").alias("value"), "a number must be a finite number: "),
        (pl.lit(np.inf).alias("value"), "a number must be a finite number: "),
        (pl.lit(np.nan).alias("time"), "every row needs a time: "),
        (pl.lit("noon").alias("time"), "a timestamp must be a number, a date or an ISO datetime"),
        (pl.duration(seconds=1).alias("time"), "a timestamp must be a number, a date or an ISO datetime"),
        (pl.lit("purchase").alias("kind"), "must be interaction or skip: "),
        (pl.concat_list("user").alias("user"), "an id must be an integer or a string"),
    ],
)
def test_wrong_values_of_tables_are_refused(call, tmp_path: Path, changed: pl.Expr, message: str) -> None:
    found = analysed(call, tmp_path, EVENTS.with_columns(changed))
    assert (found.code, found.out) == (2, "")
    assert message in " ".join(found.err.split())
    assert f"column '{changed.meta.output_name()}'" in " ".join(found.err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("STORE", "--window", "7"), "--window must be a whole number above 0 and a unit"),
        (("STORE", "--metric", "clicks"), "outcome must be one of interactions"),
        (("STORE", "--split", "a=50,b=50"), "for tables"),
        (("no.parquet",), "also needs --exposures"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "50/50"), "--split must be RUN=SHARE"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "a=inf,b=5"), "shares from 0 to 100"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "a=5,a=5"), "each run once"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "a=90,b=90"), "100 at most, got 180"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "a=1", "--column", "usr=x"), "--column takes"),
        (("STORE", "--write-exposures", "who.csv"), "--write-exposures must end in .parquet, got 'who.csv'"),
        (
            ("STORE", "--write-exposures", "no/who.parquet"),
            "--write-exposures must be in a folder that exists",
        ),
    ],
)
def test_wrong_words_are_refused(call, store: Path, words, message: str) -> None:
    found = call("experiment", *(store if word == "STORE" else word for word in words))
    assert found.code == 2
    assert message in " ".join(found.err.split())


def test_a_store_without_a_split_says_so(call, tmp_path: Path) -> None:
    async def make() -> None:
        store = SqliteStore(tmp_path / "bare.db")
        await store.open()
        await store.close()

    asyncio.run(make())
    found = call("experiment", tmp_path / "bare.db")
    assert found.code == 2
    assert "the store has no exposures" in found.err


def test_a_table_without_counted_users_has_no_nan(call, store: Path) -> None:
    answer = call("experiment", store, "--window", "30000d")
    assert answer.code == 0
    assert "can't be compared yet" in answer.out
    assert "nan" not in answer.out
