"""A shadow is asked what others were asked, never answers, and holds nobody up, whatever it does."""

from __future__ import annotations

import logging
import threading

import pytest
from small_server import N_USERS

from twotower.server import ranking
from twotower.server.shadow import WAITING

USERS = [1000 + n for n in range(N_USERS - 1)]


@pytest.fixture
def shadowed(serving, other_model, tmp_path):
    other_model.save(tmp_path / "next")
    return serving(name="live", shadow={"next": tmp_path / "next"})


def shadow_lists(client, result):
    lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("twotower_shadow_lists_total") and result in line]
    return float(found[0].split()[-1]) if found else 0.0


def test_it_makes_the_lists_that_it_would_answer_and_no_answer_is_its_own(
    shadowed, model, other_model, caplog
):
    caplog.set_level(logging.INFO, "twotower.server")
    body = {"users": USERS[:4], "k": 5, "deny": [501, 502], "explain": 2}
    results = shadowed.post("/v1/recommend", json=body).json()["results"]
    one = shadowed.get(f"/v1/recommend/{USERS[4]}?k=3&exclude_seen=false").json()
    shadowed.portal.call(shadowed.app.state.service.shadow.idle)
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


def test_one_that_hangs_or_fails_holds_up_nobody(shadowed, monkeypatch):
    service, gate, lists = shadowed.app.state.service, threading.Event(), ranking.lists
    own = service.shadow.model.state

    def stuck(state, *given):
        if state is own:
            gate.wait(30)
            raise RuntimeError("broken")
        return lists(state, *given)

    monkeypatch.setattr(ranking, "lists", stuck)
    asked = WAITING + 40
    for number in range(asked // 10):
        users = [USERS[(number + n) % len(USERS)] for n in range(10)]
        answer = shadowed.post("/v1/recommend", json={"users": users, "k": 2})
        assert answer.status_code == 200
    assert shadow_lists(shadowed, "dropped") > 0
    gate.set()
    shadowed.portal.call(service.shadow.idle)
    failed, dropped = (shadow_lists(shadowed, result) for result in ("failed", "dropped"))
    assert failed + dropped == asked // 10 * 10
    assert shadow_lists(shadowed, "answered") == 0
