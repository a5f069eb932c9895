"""A user who was deleted is nowhere: store, caches, lists, vectors, files."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from small_server import ADMIN, fitted, run_of

from twotower.core.erasure import Erased, Erasures, keyed
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_facts
from twotower.recommender.forgetting import without_users
from twotower.recommender.trained_up_to import FACT, TrainedUpTo
from twotower.server.forgetting import rewritten
from twotower.server.offline_store import forgotten, store_at
from twotower.server.store import SqliteStore
from twotower.workflows.forgetting import RECORD, forget_users
from twotower.workflows.run import Run

GONE, STAYS = "u/1003", "u/1004"


@pytest.fixture(scope="module")
def named() -> Recommender:
    """Return a model whose ids are text that can be searched for in files."""
    return fitted(ids="str")


def holding(folder: Path, text: str) -> list[str]:
    """Return the files that have a text, as it is or in the form of JSON."""
    forms = [text.encode(), json.dumps(text).encode()[1:-1]]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(f in path.read_bytes() for f in forms)]


def test_a_model_without_a_user_answers_all_others_as_before(named):
    row = named.users.index[GONE]
    left = without_users(named, np.array([row]))
    assert GONE not in left.user_ids.to_list()
    assert GONE not in left.encoder.users.warm_ids.to_list()
    assert len(left.model.users.ids.weight) == len(named.model.users.ids.weight) - 1
    assert len(left.seen.values) == len(named.seen.values) - len(named.seen[row])
    others = [user for user in named.user_ids.to_list() if user != GONE]
    assert left.recommend(others, k=5).equals(named.recommend(others, k=5))
    table = pl.DataFrame({"user_id": others[:9], "item_id": named.item_ids.to_list()[:9]})
    assert left.score(table).equals(named.score(table))


@pytest.mark.parametrize("kind", ["sequence", "item_item", "linear"])
def test_every_kind_is_saved_and_loaded_without_the_user(kind, tmp_path):
    from twotower.data.dataset import Dataset
    from twotower.estimator import TwoTower

    cell = np.random.default_rng(0).choice(20 * 12, 90, replace=False)
    rows = {"user_id": [f"user {one}" for one in cell // 12], "item_id": cell % 12, "at": np.arange(90.0)}
    data = Dataset.of(pl.DataFrame(rows), schema={"timestamp": "at"}).as_train()
    settings = {"dim": 8} | ({} if kind == "sequence" else {"regularisation": 0.3})
    if kind == "item_item":
        settings["popularity"] = 0.0
    model = TwoTower(kind=kind, epochs=1, threads=1, **settings).fit(data)
    without_users(model, np.array([3])).save(tmp_path / "bundle")
    loaded = Recommender.load(tmp_path / "bundle")
    gone, others = model.user_ids[3], model.user_ids.to_list()[4:]
    assert holding(tmp_path, f'"{gone}"') == []
    assert loaded.recommend(others, k=3).equals(model.recommend(others, k=3))


def test_delete_leaves_nothing_in_the_store_and_the_run_and_survives_a_reload(serving, named, tmp_path):
    run = run_of(named, tmp_path / "run")
    (run / "report.html").write_text(f"<p>{GONE}</p>")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "state").write_text("vectors")
    before = Recommender.load(run)
    client = serving(bundle=run / "bundle", store=str(tmp_path / "store.db"))
    item = named.item_ids[0]
    events = [
        {"id": f"{user}/{n}", "user_id": user, "item_id": item} for user in (GONE, STAYS) for n in (1, 2)
    ]
    client.post("/v1/events", json={"events": events}).raise_for_status()
    assert client.get(f"/v1/users/{GONE}").json()["events"] == 2
    assert "run/bundle/tables.json" in holding(tmp_path, GONE)
    admin = {"Authorization": f"Bearer {ADMIN}"}
    assert client.delete(f"/v1/users/{GONE}").status_code == 401

    answer = client.delete(f"/v1/users/{GONE}", headers=admin)
    assert answer.json() == {"model": answer.json()["model"], "events": 2, "pending": ""}
    assert holding(tmp_path, GONE) == []
    assert "run/bundle/tables.json" in holding(tmp_path, STAYS)
    user = client.get(f"/v1/users/{GONE}").json()
    assert (user["known"], user["seen"], user["events"]) == (False, 0, 0)
    assert client.get(f"/v1/recommend/{GONE}").status_code == 404
    assert client.get(f"/v1/users/{STAYS}").json()["events"] == 2
    record = json.loads((run / RECORD).read_text())
    assert (record["users"], record["records"]) == (1, [1])

    before.save(run / "bundle")  # an older copy comes back
    client.post("/v1/admin/reload", headers=admin).raise_for_status()
    assert client.get(f"/v1/users/{GONE}").json()["known"] is False
    assert holding(tmp_path, GONE) == []
    client.post("/v1/events", json={"events": [dict(events[0], id="new")]}).raise_for_status()
    assert client.get(f"/v1/users/{GONE}").json()["events"] == 1  # who comes back is someone new
    assert client.delete("/v1/users/never%20here", headers=admin).json()["events"] == 0


def test_another_server_of_the_store_forgets_too(serving, named, tmp_path):
    for name in ("one", "two"):
        named.save(tmp_path / name)
    store = str(tmp_path / "store.db")
    one, two = (serving(bundle=tmp_path / name, store=store) for name in ("one", "two"))
    sent = [{"id": "a", "user_id": GONE, "item_id": named.item_ids[0]}]
    one.post("/v1/events", json={"events": sent}).raise_for_status()
    assert two.get(f"/v1/users/{GONE}").json()["events"] == 1  # and in its cache
    one.delete(f"/v1/users/{GONE}", headers={"Authorization": f"Bearer {ADMIN}"}).raise_for_status()
    assert two.get(f"/v1/users/{GONE}").json()["events"] == 0
    two.portal.call(two.app.state.service.states.refresh)  # what `poll` does each second
    assert two.get(f"/v1/users/{GONE}").json()["known"] is False


def test_forget_from_the_command_line_can_be_repeated_and_a_kill_in_between_loses_nothing(
    named, tmp_path, monkeypatch
):
    run = Run(run_of(named, tmp_path / "run"))
    store = SqliteStore(tmp_path / "store.db")
    asyncio.run(store.open())
    asyncio.run(store.close())
    events, erasures = asyncio.run(forgotten(store_at(str(tmp_path / "store.db")), GONE, TrainedUpTo()))
    assert events == 0

    def killed(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            forget_users(run, erasures)
    assert forget_users(run, erasures).users == 1
    assert forget_users(run, erasures).files == ()
    assert holding(tmp_path, GONE) == []
    assert TrainedUpTo.of(read_facts(run.bundle)).erased == {erasures.store: 1}


@pytest.mark.parametrize("make", [run_of, lambda model, path: model.save(path) or path])
def test_who_came_back_before_the_model_was_trained_stays_when_another_user_is_deleted(named, tmp_path, make):
    place = make(named, tmp_path / "run")
    bundle = place / "bundle" if (place / "bundle").is_dir() else place
    named.save(bundle, **{FACT: TrainedUpTo(erased={"s": 1}).state})  # trained after the first deletion
    users = [Erased(n, keyed("k", user), 0, 0, 0.0) for n, user in ((1, STAYS), (2, GONE))]
    assert rewritten(bundle, Erasures("k", users, "s")) == ""
    left = Recommender.load(bundle).user_ids.to_list()
    assert STAYS in left
    assert GONE not in left
    assert TrainedUpTo.of(read_facts(bundle)).erased == {"s": 2}


def test_a_restored_store_deletes_again_and_its_new_events_count(serving, named, tmp_path):
    """It begins with numbers that the bundle has: of events that it was trained on, of deletions done."""
    run, store = run_of(named, tmp_path / "run"), tmp_path / "store.db"
    admin = {"Authorization": f"Bearer {ADMIN}"}
    client = serving(bundle=run / "bundle", store=str(store))
    with sqlite3.connect(store) as opened, sqlite3.connect(tmp_path / "backup") as backup:
        opened.backup(backup)
    client.delete(f"/v1/users/{GONE}", headers=admin).raise_for_status()
    facts = read_facts(run / "bundle")
    ((name, erased),) = TrainedUpTo.of(facts).erased.items()
    assert erased == 1
    facts[FACT] = TrainedUpTo({name: 7}, None, {name: 1}).state
    Recommender.load(run / "bundle").save(run / "bundle", **facts)
    (tmp_path / "restored").mkdir()
    shutil.copyfile(tmp_path / "backup", tmp_path / "restored" / "store.db")
    client = serving(bundle=run / "bundle", store=str(tmp_path / "restored" / "store.db"))
    seen = named.item_ids[int(named.seen[named.users.index[STAYS]][0])]
    sent = {"id": "late", "user_id": STAYS, "item_id": seen}
    client.post("/v1/events", json={"events": [sent]}).raise_for_status()
    assert client.portal.call(client.app.state.service.store.last) == 8
    assert client.get(f"/v1/users/{STAYS}").json()["events"] == 1
    assert client.delete(f"/v1/users/{STAYS}", headers=admin).json()["pending"] == ""
    assert client.get(f"/v1/users/{STAYS}").json()["known"] is False
    assert holding(run, STAYS) == []


def test_the_one_user_of_a_model_is_not_deleted_from_it(named, tmp_path):
    everyone = [Erased(n + 1, keyed("k", user), 0, 0, 0.0) for n, user in enumerate(named.user_ids)]
    from twotower.errors import ConfigError

    with pytest.raises(ConfigError, match="at least one user"):
        without_users(named, np.flatnonzero(Erasures("k", everyone).places(named.user_ids) >= 0))
