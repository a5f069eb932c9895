"""Continuing a run on the events since: what is added, once, and what a break leaves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from twotower import workflows
from twotower.config import load_config
from twotower.core.erasure import Erased, Erasures, keyed
from twotower.errors import ConfigError, DataError
from twotower.recommender.bundle import read_facts
from twotower.recommender.trained_up_to import FACT, TrainedUpTo
from twotower.workflows import continuing
from twotower.workflows.chosen import CHOSEN
from twotower.workflows.continuing import continue_run
from twotower.workflows.event_table import PLACE, EventTable, columns_of
from twotower.workflows.forgetting import forget_users
from twotower.workflows.marking import mark_of
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run

CHANGES = {'kind = "mlp"\nhidden = [8]': 'kind = "linear"', '"squared"': '"all_pairs"\nregularisation = 0.3'}
NEW = 77


def table(first: int, last: int, *, film: int = 5, start: float = 1e9) -> EventTable:
    """Return events of a store by their numbers; person 77 and film 900 are new."""
    places = list(range(first, last + 1))
    rows = pl.DataFrame(
        {
            "person": [NEW if place % 2 else place for place in places],
            "film": [900 if place % 5 == 0 else (film + place) % 30 for place in places],
            "stars": [4.0] * len(places),
            "at": [start + place for place in places],
            PLACE: places,
        }
    )
    columns = {"genres": [1, 3], "title": "New"}
    return EventTable(rows, TrainedUpTo({"store": last}), ({"item": "900", "columns": columns},))


@pytest.fixture(scope="module")
def trained(folder: Path) -> Run:
    text = (folder / "config.toml").read_text(encoding="utf-8")
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "linear.toml").write_text(text, encoding="utf-8")
    return workflows.train(load_config(folder / "linear.toml"), folder / "first").run


def mark(run: Run) -> TrainedUpTo:
    return TrainedUpTo.of(read_facts(run.bundle))


def trained_rows(run: Run) -> int:
    return len(run.recommender().seen.values)


def test_events_are_added_once_and_the_run_is_whole(trained, folder):
    done = continue_run(trained.path, table(1, 20), folder / "second")
    assert done.new == 20
    run, model = done.run, done.run.recommender()
    assert trained_rows(run) == trained_rows(trained) + 20
    assert NEW in model.user_ids.to_list()
    row = model.items.index[900]
    assert model.items.warm[row]
    assert model.display["title"][row] == "New"
    assert mark(run).stores == {"store": 20}
    assert mark(run).time == 1e9 + 20
    said = done.metrics["continued"]
    assert (said["events"], said["new_users"], said["new_items"]) == (20, 1, 1)
    assert said["before"]["ranking"] == trained.metrics()["ranking"]
    assert workflows.evaluate(run.path)["ranking"] == done.metrics["ranking"]  # reads the same data
    assert mark(trained).stores == {}

    again = continue_run(run.path, table(11, 25))  # in place; half of it is known
    assert again.new == 5
    assert trained_rows(again.run) == trained_rows(trained) + 25
    assert [one.name for one in run.path.glob("events-*")] == ["events-2.parquet"]
    assert workflows.evaluate(run.path)["ranking"] == again.metrics["ranking"]
    before = (run.bundle / "bundle.json").read_bytes()
    assert continue_run(run.path, table(1, 25)).new == 0
    assert (run.bundle / "bundle.json").read_bytes() == before


@pytest.mark.parametrize("broken", ["write", "write_metrics", "save"])
def test_a_break_leaves_a_run_that_is_continued_without_loss(trained, folder, monkeypatch, broken):

    run = Run(folder / f"broken-{broken}")
    shutil.copytree(trained.path, run.path)

    def stop(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    owners = {"write": EventTable, "write_metrics": Run, "save": workflows.Run}
    with monkeypatch.context() as patch:
        if broken == "save":
            from twotower.recommender import Recommender

            patch.setattr(Recommender, "save", stop)
        else:
            patch.setattr(owners[broken], broken, stop)
        with pytest.raises(Exception, match="interrupted"):
            continue_run(run.path, table(1, 20))
    found = workflows.evaluate(run.path)["ranking"]  # the data are those of the results
    assert found == run.metrics()["ranking"] or broken == "write_metrics"
    done = continue_run(run.path, table(1, 22))
    assert done.new == 22
    assert trained_rows(run) == trained_rows(trained) + 22
    assert len(list(run.path.glob("events-*"))) == 1


def test_an_earlier_version_s_run_is_continued_again_and_again(trained, folder):
    """Its bundle does not say what was chosen; its checkpoints do, and the continued bundle says it."""
    run = Run(folder / "earlier")
    shutil.copytree(trained.path, run.path)
    facts = {name: of for name, of in read_facts(run.bundle).items() if name not in (CHOSEN, FACT)}
    run.recommender().save(run.bundle, **facts)
    continue_run(run.path, table(1, 4))
    shutil.rmtree(run.checkpoints)
    assert continue_run(run.path, table(1, 6)).new == 2
    again = Run(folder / "again")
    shutil.copytree(trained.path, again.path)
    run.recommender().save(again.bundle, **facts)
    shutil.rmtree(again.checkpoints)
    with pytest.raises(ConfigError, match="must be known to continue"):
        continue_run(again.path, table(1, 4))


def test_rows_of_the_data_and_of_the_test_set_are_left_out(trained, folder):
    parts = load_parts(trained.config())
    rows = [part.interactions.head(3).select(columns_of(part.schema)) for part in (parts.train, parts.test)]
    own = pl.concat(rows).with_columns(pl.lit(None, dtype=pl.Int64).alias(PLACE))
    new = table(1, 4).interactions
    both = EventTable(pl.concat([own, new, new], how="vertical_relaxed"), TrainedUpTo())
    done = continue_run(trained.path, both, folder / "third")
    assert trained_rows(done.run) == trained_rows(trained) + 4
    assert any("6 later" in note or "left out" in note for note in done.metrics["data"]["notes"])


def test_a_full_training_on_the_same_data_is_measured_beside(trained, folder):
    done = continue_run(trained.path, table(1, 8), folder / "fourth", full_gap=True)
    full = done.metrics["continued"]["full"]
    config = load_config(
        trained.config_file, [f"data.events={done.run.path / 'events-1.parquet'}"], saved=True
    )
    alone = workflows.train(config, folder / "full")
    assert full["ranking"] == alone.metrics["ranking"]
    assert full["cpu_seconds"] > 0
    assert mark(alone.run) == mark(done.run)  # read from the table


def test_what_can_t_be_continued_is_refused(trained, folder, tmp_path):
    with pytest.raises(ConfigError, match="no run"):
        continue_run(tmp_path / "none", table(1, 2))
    (tmp_path / "other.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"other\.txt"):
        continue_run(trained.path, table(1, 2), tmp_path)


def test_a_run_is_not_changed_between_reading_and_writing_it(trained, folder, monkeypatch):
    """What another process adds or deletes meanwhile would be lost, or come back."""
    run = Run(folder / "alone")
    shutil.copytree(trained.path, run.path)
    refused = []

    def meanwhile(*given: object, **more: object):
        for work in (
            lambda: continue_run(run.path, table(1, 3)),
            lambda: forget_users(run, Erasures("key", [Erased(1, keyed("key", "3"), 0, 0, 0.0)], "store")),
        ):
            with pytest.raises(ConfigError, match="another process trains"):
                work()
            refused.append(work)
        return load_parts(*given, **more)

    monkeypatch.setattr(continuing, "load_parts", meanwhile)
    assert continue_run(run.path, table(4, 6)).new == 3
    assert len(refused) == 2


def test_a_table_s_mark_does_not_say_that_the_other_tables_lack_deleted_users(trained, folder):
    table(1, 3).write(folder / "exported.parquet")
    found = EventTable.read(folder / "exported.parquet", trained.recommender().encoder.schema)
    replace(found, mark=TrainedUpTo({"store": 3}, None, {"store": 2})).write(folder / "exported.parquet")
    config = trained.config()
    exported = str(folder / "exported.parquet")
    data = config.data.model_copy(update={"interactions": exported})
    parts = load_parts(config)
    found = mark_of(config.model_copy(update={"data": data}), parts)
    assert (found.stores, found.erased) == ({"store": 3}, {})
    data = config.data.model_copy(update={"events": exported})  # by which deleted users are left out
    assert mark_of(config.model_copy(update={"data": data}), parts).erased == {"store": 2}


def test_data_that_changed_since_is_refused(trained, folder):
    path = folder / "events.csv"
    text = path.read_text()
    path.write_text(text.replace("\n", "\n0,0,1.0,5\n", 1))
    try:
        with pytest.raises(DataError, match="data it was made from"):
            continue_run(trained.path, table(1, 2), folder / "fifth")
    finally:
        path.write_text(text)
    assert not (folder / "fifth").exists()


def deletions(store: str, *users: tuple[int, int]) -> Erasures:
    """Return deletions of users, each with the place of the last event."""
    key = f"key of {store}"
    every = [Erased(n, keyed(key, str(user)), place, 1, 0.0) for n, (user, place) in enumerate(users, 1)]
    return Erasures(key, every, store)


def test_who_was_deleted_from_one_store_does_not_come_back_with_events_of_another(trained, folder):
    run = Run(folder / "two stores")
    shutil.copytree(trained.path, run.path)
    users = trained.recommender().user_ids.to_list()
    gone, later = users[1], users[3]
    first = replace(table(1, 4), erasures=deletions("store", (gone, 4)))
    continue_run(run.path, first)
    assert gone not in run.recommender().user_ids.to_list()
    rows = table(1, 6).interactions.with_columns(person=pl.Series([gone, *[later] * 4, NEW]))
    mark = TrainedUpTo({"other": 6}, None, {"other": 1})
    continue_run(run.path, EventTable(rows, mark, erasures=deletions("other", (later, 3))))
    model = run.recommender()
    assert len(model.seen[model.users.index[gone]]) == 1  # who came back is someone new
    assert len(model.seen[model.users.index[later]]) == 2
    forget_users(run, deletions("store", (gone, 4), (NEW, 4)))
    kept = EventTable.read(run.path / run.metrics()["events"], model.encoder.schema)
    assert NEW not in kept.interactions["person"].to_list()
    found = load_parts(run.config()).train.interactions["person"].to_list()
    assert (found.count(gone), found.count(later), found.count(NEW)) == (1, 2, 0)


def test_who_was_deleted_before_the_run_was_first_continued_does_not_come_back(trained, folder):
    """The files of the config still have the user, and the next events are those of no store."""
    run, said = Run(folder / "forgotten first"), list[str]()
    shutil.copytree(trained.path, run.path)
    gone = trained.recommender().user_ids.to_list()[1]
    erasures = deletions("store", (gone, 4))
    assert continue_run(run.path, replace(table(1, 0), erasures=erasures), log=said.append).new == 0
    assert "the run still has 1 user deleted" in said[-1]
    forget_users(run, erasures)
    rows = table(5, 6).interactions.with_columns(pl.lit(None, dtype=pl.Int64).alias(PLACE))
    done = continue_run(run.path, EventTable(rows, TrainedUpTo()), log=said.append)
    assert done.new == 2
    assert not any("0 later" in line for line in said)
    assert gone not in run.recommender().user_ids.to_list()
    parts = load_parts(run.config())
    assert not any(gone in of.interactions["person"] for of in (parts.train, parts.validation, parts.test))
    assert mark(run).erased == {"store": 1}
    assert continue_run(run.path, replace(table(1, 0), erasures=erasures), log=said.append).new == 0
    assert "no new events" in said[-1]
