"""From events to the next model, and deleting a user, on the command line."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from twotower.recommender import Recommender
from twotower.server.store import Event, SqliteStore

WHO, NEW = 3, 9_001


@pytest.fixture
def loop(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a run and a store of events beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "run")

    async def fill() -> None:
        store = SqliteStore(tmp_path / "run.events.db")
        await store.open()
        sent = [(WHO, 5), (WHO, 6), (NEW, 5), (NEW, 7)]
        await store.append(
            [
                Event(f"e{n}", str(user), str(item), "interaction", 4.0, 1.6e9)
                for n, (user, item) in enumerate(sent)
            ]
        )
        await store.close()

    asyncio.run(fill())
    return tmp_path


def test_events_are_exported_a_run_is_continued_and_a_user_is_deleted(call, loop):
    exported = call("events", "export", "run.events.db", "--out", "events.parquet", "--json")
    assert exported.code == 0, exported.err
    assert (exported.json["rows"], list(exported.json["mark"]["stores"].values())) == (4, [4])

    done = call("train", "--from", "run", "--events", "run.events.db", "--out", "next", "--full-gap")
    assert done.code == 0, done.err
    assert "4 events, 1 new user" in done.out
    assert "before" in done.out
    assert "trained from the beginning" in done.out
    assert "of the CPU time" in done.out
    again = call("train", "--from", "next", "--events", "events.parquet", "--json")
    assert (again.code, again.json["new"]) == (0, 0), again.err
    since = call("events", "export", "run.events.db", "--out", "more.parquet", "--since", "next", "--json")
    assert since.json["rows"] == 0, since.err

    gone = call("forget", "run.events.db", "next", "--user", str(NEW), "--json")
    assert (gone.code, gone.json["events"], gone.json["users"]) == (0, 2, 1), gone.err
    assert "events-1.parquet" in gone.json["files"]
    assert NEW not in Recommender.load("next").user_ids.to_list()
    assert call("evaluate", "next", "--json").code == 0
    none = call("forget", "run.events.db", "next", "--user", "987654")
    assert none.code == 0
    assert "neither the store nor the run had the user '987654'" in none.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--from", "run"), "need each other"),
        (("train", "--events", "run.events.db"), "need each other"),
        (("train", "x.toml", "--from", "run", "--events", "run.events.db"), "CONFIG has no effect"),
        (("train", "--from", "run", "--events", "run.events.db", "--seeds", "2"), "--seeds has no effect"),
        (("train", "--from", "run", "--events", "run.events.db", "--full"), "--full has no effect"),
        (("train", "--out", "new"), "name a CONFIG and --out RUN"),
        (("train", "--from", "run", "--events", "none.db"), "there is no event store"),
        (("events", "import", "run.events.db", "--out", "e.parquet"), "must be export"),
        (("events", "export", "run.events.db", "--out", "e.csv"), "must end in .parquet"),
        (("events", "export", "run.events.db", "--out", "e.parquet", "--since", "soon"), "--since must be"),
        (("events", "export", "events.csv", "--out", "e.parquet"), "there is no event store"),
        (("forget", "none.db", "run", "--user", "3"), "there is no event store"),
        (("serve", "run", "--workers", "0"), "--workers must lie between 1 and 256"),
        (("serve", "run", "--keep", "soon"), "--keep must be"),
    ],
)
def test_what_can_t_be_done_is_said_in_one_line(call, loop, words, said):
    answer = call(*words)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (loop / "none.db").exists()
    assert not list(loop.glob("e.*"))
