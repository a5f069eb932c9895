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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("STORE", "--window", "7"), "--window must be a whole number above 0 and a unit"),
        (("STORE", "--metric", "clicks"), "outcome must be one of interactions"),
        (("STORE", "--split", "a=50,b=50"), "for tables"),
        (("no.parquet",), "also needs --exposures"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "50/50"), "--split must be RUN=SHARE"),
        (("no.parquet", "--exposures", "e.parquet", "--split", "a=1", "--column", "usr=x"), "--column takes"),
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
