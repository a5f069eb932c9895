"""Events of a store as a table, and a server that does not count again what its model was trained on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest
from small_server import ADMIN, train_part

from twotower.data.dataset import Dataset
from twotower.errors import BundleError, ConfigError, DataError
from twotower.estimator import TwoTower
from twotower.recommender.bundle import read_facts
from twotower.recommender.trained_up_to import FACT, TrainedUpTo
from twotower.server.exporting import exported
from twotower.server.offline_store import is_store, store_at
from twotower.server.store import Event, SqliteStore
from twotower.workflows.event_table import PLACE, EventTable, columns_of, mark_in

USER = 1003


def kept(path: Path, *events: Event) -> str:
    """Return the path of a store with some events."""

    async def work() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.append(events)
        await store.close()

    asyncio.run(work())
    return str(path)


def event(name: str, item: int, user: object = USER, **other: object) -> Event:
    given = {"kind": "interaction", "value": 2.0, "time": 1_700_000_000.0} | other
    return Event(name, str(user), str(item), **given)


def table(address: str, model, **how) -> EventTable:
    return asyncio.run(exported(store_at(address), model, **how))


def test_the_table_has_the_model_s_columns_and_says_what_it_leaves_out(tmp_path, model):
    address = kept(
        tmp_path / "events.db",
        event("a", 501),
        event("b", 502, user=77, value=None),
        event("c", 503, kind="skip", value=None),
        event("d", 504, user="nobody"),
    )
    found = table(address, model)
    assert columns_of(model.encoder.schema) == ["user_id", "item_id", "stars"]
    assert found.interactions.columns == ["user_id", "item_id", "stars", PLACE]
    liked = model.seen_label[model.seen_label >= 1.5]
    expected = [(USER, 501, 2.0), (77, 502, pytest.approx(float(pl.Series(liked).median())))]
    assert found.interactions.drop(PLACE).rows() == expected
    assert found.interactions[PLACE].to_list() == [1, 2]
    assert found.interactions.schema["user_id"] == model.users.ids.dtype
    assert len(found.notes) == 3
    assert {note.split(":")[0] for note in found.notes} == {
        "1 skip left out",
        "1 event without a value",
        "1 event left out",
    }
    assert list(found.mark.stores.values()) == [4]


def test_only_what_is_new_is_exported_after_a_mark_and_from_a_time_there_is_none(tmp_path, model):
    address = kept(tmp_path / "events.db", event("a", 501, time=1e9))
    first = table(address, model)
    kept(tmp_path / "events.db", event("b", 502, time=2e8))  # late, with an early time
    second = table(address, model, after=first.mark)
    assert second.interactions["item_id"].to_list() == [502]
    assert list(second.mark.stores.values()) == [2]
    timed = table(address, model, since=5e8)
    assert timed.interactions["item_id"].to_list() == [501]
    assert timed.mark == TrainedUpTo()


def test_who_is_deleted_during_the_export_is_not_in_the_table(tmp_path, model, monkeypatch):
    address = kept(tmp_path / "events.db", event("a", 501), event("b", 502, user=1004))
    read = SqliteStore.items_since

    async def meanwhile(store: SqliteStore, version: int = 0):
        await store.forget("1004")
        return await read(store, version)

    monkeypatch.setattr(SqliteStore, "items_since", meanwhile)
    found = table(address, model)
    assert found.interactions["user_id"].to_list() == [USER]
    assert found.erasures.last == 1


def test_a_table_keeps_its_mark_and_a_torn_write_leaves_the_old_one(tmp_path, model, monkeypatch):
    found = table(kept(tmp_path / "events.db", event("a", 501)), model)
    path = tmp_path / "events.parquet"
    found.write(path)
    again = EventTable.read(path, model.encoder.schema)
    assert again.mark == found.mark == mark_in(path)
    assert again.interactions.equals(found.interactions)
    assert mark_in(tmp_path / "events.db") == mark_in(tmp_path / "none.parquet") == TrainedUpTo()

    def full(self, file, **more):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(BundleError, match=r"No space|full"):
        found.write(path)
    assert mark_in(path) == found.mark
    assert [one.name for one in tmp_path.iterdir() if "tmp" in one.name] == []


def test_what_is_no_store_and_no_table_is_refused(tmp_path, model):
    with pytest.raises(ConfigError, match="no event store"):
        store_at(str(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(DataError, match="can't be read"):
        EventTable.read(tmp_path / "x.parquet", model.encoder.schema)
    pl.DataFrame({"user_id": [1]}).write_parquet(tmp_path / "y.parquet")
    with pytest.raises(DataError, match="lacks item_id, stars"):
        EventTable.read(tmp_path / "y.parquet", model.encoder.schema)
    with pytest.raises(ConfigError, match=r"end in \.parquet"):
        table(kept(tmp_path / "s.db"), model).write(tmp_path / "events.csv")
    assert is_store(kept(tmp_path / "s.db"))
    assert is_store("redis://localhost")
    assert not is_store(str(tmp_path / "y.parquet"))


def asked(client, user: int = USER):
    body = {"users": [user], "k": 20, "exclude_seen": False}
    answer = client.post("/v1/recommend", json=body)
    answer.raise_for_status()
    return answer.json()


def test_events_that_the_model_was_trained_on_are_not_counted_again(serving, bundle, model, tmp_path):
    client = serving()
    before = client.get(f"/v1/users/{USER}").json()["seen"]
    base = train_part()
    seen = set(base.interactions.filter(pl.col("user_id") == USER)["item_id"])
    fresh = [item for item in range(500, 559) if item not in seen][:6]
    sent = [{"id": f"e{n}", "user_id": USER, "item_id": item, "value": 3.0} for n, item in enumerate(fresh)]
    client.post("/v1/events", json={"events": sent}).raise_for_status()
    trained = table(str(tmp_path / "events.db"), model)
    held = sent[-1]["item_id"]  # as by a split: exported, and not trained on
    rows = trained.interactions.filter(pl.col("item_id") != held).drop(PLACE)
    joined = Dataset.of(
        pl.concat([base.interactions, rows]), base.users, base.items, schema=base.schema
    ).as_train()
    again = TwoTower(kind="linear", dim=8, epochs=1, threads=1, positive=1.5).fit(joined)
    again.save(bundle, **{FACT: trained.mark.state})
    assert TrainedUpTo.of(read_facts(bundle)) == trained.mark
    alone = serving(store=str(tmp_path / "other.db"))
    alone.post("/v1/events", json={"events": sent[-1:]}).raise_for_status()

    client.post("/v1/admin/reload", headers={"Authorization": f"Bearer {ADMIN}"}).raise_for_status()
    user = client.get(f"/v1/users/{USER}").json()
    assert (user["seen"], user["events"]) == (before + 5, 1)  # 6 were sent, each counts once
    assert asked(client) == asked(alone)

    late = {"id": "late", "user_id": USER, "item_id": fresh[0], "value": 3.0, "time": 1_000_000_000}
    client.post("/v1/events", json={"events": [late]}).raise_for_status()
    assert client.get(f"/v1/users/{USER}").json()["events"] == 2
    assert asked(client) != asked(alone)


def test_without_a_store_s_mark_the_times_of_the_data_decide(serving, model, bundle):
    model.save(bundle, **{FACT: TrainedUpTo(time=1.6e9).state})
    client = serving()
    row = model.users.index[USER]
    items = [model.items.known[place] for place in model.seen[row].tolist()]
    other = next(item for item in model.items.known if item not in items)
    sent = [
        {"id": "in the data", "user_id": USER, "item_id": items[0], "time": 1.5e9},
        {"id": "again, later", "user_id": USER, "item_id": items[1], "time": 1.7e9},
        {"id": "not in the data", "user_id": USER, "item_id": other, "time": 1.5e9},
    ]
    client.post("/v1/events", json={"events": sent}).raise_for_status()
    found = client.get(f"/v1/users/{USER}").json()
    assert found["events"] == 2
    assert [one["time"] for one in found["history"][:2]] == [1.5e9, 1.7e9]


@pytest.mark.parametrize(
    "given", [{"time": "x", "stores": {}, "erased": {}}, {"stores": {"a": -1}}, [], {"time": None}]
)
def test_a_mark_that_is_none_is_refused(given):
    with pytest.raises(BundleError, match="trained_up_to"):
        TrainedUpTo.of({FACT: given})
    assert TrainedUpTo.of({}) == TrainedUpTo()
