"""A shadow is asked what others were asked, never answers, and holds nobody up, whatever it does."""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path

import pytest
from small_server import ADMIN, HERE, N_USERS
from starlette.testclient import TestClient
from test_server_changes import BEARER, NEW, event, tell

from twotower.recommender import Recommender
from twotower.server import Settings, create_app
from twotower.server import shadow as module
from twotower.server.metrics import Metrics
from twotower.server.shadow import WAITING, Shadow, ShadowRequest
from twotower.server.wanted import Wanted

USERS = [1000 + n for n in range(N_USERS - 1)]


@pytest.fixture(scope="module")
def shadowed(model, other_model, tmp_path_factory):
    """Give one server with a shadow for all tests: its process takes seconds to start."""
    folder = tmp_path_factory.mktemp("shadowed")
    for name, of in (("live", model), ("next", other_model)):
        of.save(folder / name)
    settings = Settings(
        bundle=folder / "live",
        store=str(folder / "events.db"),
        shadow={"next": folder / "next"},
        admin_token=ADMIN,
        **HERE,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def shadow_lists(client, result):
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("twotower_shadow_lists_total") and result in line]
    return float(found[0].split()[-1]) if found else 0.0


def idle(client):
    client.portal.call(client.app.state.service.shadow.idle)


def test_it_makes_the_lists_that_it_would_answer_and_no_answer_is_its_own(
    shadowed, model, other_model, caplog
):
    caplog.set_level(logging.INFO, "twotower.server")
    body = {"users": USERS[:4], "k": 5, "deny": [501, 502], "explain": 2}
    results = shadowed.post("/v1/recommend", json=body).json()["results"]
    one = shadowed.get(f"/v1/recommend/{USERS[4]}?k=3&exclude_seen=false").json()
    idle(shadowed)
    logged = [record.fields for record in caplog.records if record.getMessage() == "shadow"]
    assert [line["user_id"] for line in logged] == USERS[:5]
    answers = {
        user: [item["item_id"] for item in got["items"]] for user, got in zip(USERS, results, strict=False)
    }
    answers[USERS[4]] = [item["item_id"] for item in one["items"]]
    for line in logged:
        user = line["user_id"]
        given = {"deny": [501, 502]} if user != USERS[4] else {"exclude_seen": False}
        k = 5 if user != USERS[4] else 3
        assert line["items"] == other_model.recommend([user], k, **given)["item_id"].to_list()
        assert answers[user] == model.recommend([user], k, **given)["item_id"].to_list()
        assert line["same"] == len(set(line["items"]) & set(answers[user]))
        assert line["run"] == "next"
    assert shadow_lists(shadowed, "answered") == 5


def test_it_knows_events_new_items_and_who_is_described(shadowed, caplog):
    caplog.set_level(logging.INFO, "twotower.server")
    tell(shadowed, event("e", USERS[5], 510))
    shadowed.put("/v1/items/900", json={"columns": NEW})
    new = {"history": [501, 502], "features": {"group": 1}, "times": [1.7e9, "2024-01-01T00:00:00Z"]}
    answer = shadowed.post("/v1/recommend", json={"users": [USERS[5], new], "k": 100})
    assert answer.status_code == 200, answer.text
    idle(shadowed)
    known, described = [record.fields for record in caplog.records if record.getMessage() == "shadow"][-2:]
    assert 510 not in known["items"]
    assert described["user_id"] is None
    assert {501, 502}.isdisjoint(described["items"])


def test_it_is_reloaded_and_a_bad_bundle_keeps_its_model(shadowed, model):
    shadow = shadowed.app.state.service.shadow
    before, live = shadow.facts["model"], shadowed.get("/v1/model").json()["model"]
    model.save(shadow.bundle)
    done = shadowed.post("/v1/admin/reload?run=next", headers=BEARER).json()
    assert done["runs"] == {"next": {"model": live, "previous": before}}
    (shadow.bundle / "bundle.json").rename(shadow.bundle / "gone.json")
    refused = shadowed.post("/v1/admin/reload?run=next", headers=BEARER)
    assert refused.status_code == 409
    assert str(shadow.bundle) not in refused.text
    (shadow.bundle / "gone.json").rename(shadow.bundle / "bundle.json")
    served = shadowed.get("/v1/models").json()["models"]
    assert [(one["run"], one["model"], one["shadow"]) for one in served] == [
        ("live", live, False),
        ("next", live, True),
    ]


def test_a_deleted_user_is_gone_from_its_bundle_too(shadowed):
    shadow = shadowed.app.state.service.shadow
    assert USERS[6] in Recommender.load(shadow.bundle).user_ids.to_list()
    done = shadowed.delete(f"/v1/users/{USERS[6]}", headers=BEARER)
    assert (done.status_code, done.json()["pending"]) == (200, "")
    assert USERS[6] not in Recommender.load(shadow.bundle).user_ids.to_list()


FAKE = """
import json, os, signal, sys
facts = {"model": "m", "items": 1, "loaded": 0.0}
def say(value):
    print(json.dumps(value), flush=True)
json.loads(sys.stdin.readline())
say(facts)
for line in sys.stdin:
    asked = json.loads(line)
    user = asked.get("body", {}).get("users", [None])[0]
    if user == "hang":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif user == "die":
        sys.exit(1)
    elif user == "garbage":
        print("no JSON", flush=True)
    else:
        say({"lists": [{"user_id": user, "items": [], "same": 0, "overlap": 1.0}], "seconds": 0.1} | facts)
"""
"""A shadow's process that does what users are called, and starts at once."""


@pytest.mark.parametrize("does", ["hang", "die", "garbage"])
def test_one_that_hangs_or_dies_holds_up_nobody_and_is_started_again(monkeypatch, does):
    monkeypatch.setattr(module, "PROCESS", ("-c", FAKE))
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.01)
    metrics = Metrics()

    def counted(result):
        found = re.search(
            rf"^twotower_shadow_lists_total.*{result}.* (\S+)$",
            metrics.text(in_flight=0, lost=0).decode(),
            re.M,
        )
        return float(found[1]) if found else 0.0

    async def work():
        shadow = Shadow(Settings(bundle="live/bundle", store="e.db", shadow={"next": "b"}), metrics)
        await shadow.start()
        process, working = shadow._process, asyncio.create_task(shadow.work())
        for user in ("before", does, *["after"] * (WAITING + 10)):
            shadow.offer(ShadowRequest("r", [user], Wanted(1), [[]]))  # never waits
        if does == "hang":
            while Path(f"/proc/{process.pid}/stat").read_text().split()[2] != "T":
                await asyncio.sleep(0.001)
            process.kill()
        await shadow.idle()
        shadow.offer(ShadowRequest("r", ["again"], Wanted(1), [[]]))
        await shadow.idle()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    asyncio.run(work())
    assert counted("dropped") == 12
    assert counted("failed") >= 1
    assert counted("answered") >= 2  # before, and again
    assert counted("dropped") + counted("failed") + counted("answered") == WAITING + 13
