"""Old events are removed from the store, and late ones of that age are refused."""

from __future__ import annotations

import time

from twotower.server.retention import expire

DAY = 86_400.0


def test_old_events_are_gone_from_answers_too(serving):
    now = time.time()
    client = serving()
    sent = [
        {"id": "old", "user_id": 1003, "item_id": 501, "time": now - 91 * DAY},
        {"id": "new", "user_id": 1003, "item_id": 502, "time": now - 89 * DAY},
    ]
    client.post("/v1/events", json={"events": sent}).raise_for_status()
    assert client.get("/v1/users/1003").json()["events"] == 2
    keeping = serving(keep=90 * DAY)  # removes as it starts
    store = keeping.app.state.service.store
    keeping.portal.call(expire, store, 90 * DAY)
    for one in (client, keeping):  # also from what the other one has in its cache
        assert [event["time"] for event in one.get("/v1/users/1003").json()["history"] if event["time"]] == [
            sent[1]["time"]
        ]
    answer = keeping.post("/v1/events", json={"events": [sent[0]]})
    assert answer.status_code == 422
    assert "keeps events for 90 days" in answer.json()["error"]["message"]
    assert keeping.post("/v1/events", json={"events": [sent[1]]}).json() == {"stored": 0, "duplicates": 1}
