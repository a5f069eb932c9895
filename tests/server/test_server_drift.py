"""Drift of the events that come in, in the metrics."""

from __future__ import annotations

import re

import pytest
from small_server import ADMIN

from twotower.recommender.drift import DriftReference, distance
from twotower.server import drift as counting
from twotower.server.drift import Drift
from twotower.server.state import State
from twotower.server.store import Event


def drift(client) -> dict[str, float]:
    text = client.get("/metrics").text
    return {name: float(of) for name, of in re.findall(r'twotower_drift_ratio\{of="(\w+)"\} (\S+)', text)}


def test_the_metrics_say_how_far_events_are_from_the_training_set(serving, model, other_model, bundle):
    client = serving()
    assert drift(client) == {}
    labels = model.seen_label.tolist()
    users = model.user_ids[model.seen.owners()].to_list()
    items = model.item_ids[model.seen.values].to_list()
    same = [
        {"id": f"s{n}", "user_id": user, "item_id": item, "value": value}
        for n, (user, item, value) in enumerate(zip(users, items, labels, strict=True))
    ]
    client.post("/v1/events", json={"events": same}).raise_for_status()
    assert drift(client) == {"item_popularity": 0.0, "new_users": 0.0, "label": 0.0}
    other = [dict(one, id=f"o{n}", user_id=5000 + n, value=1e6) for n, one in enumerate(same)]
    client.post("/v1/events", json={"events": other}).raise_for_status()
    found = drift(client)
    assert 0.45 < found["new_users"] < 0.55
    assert found["label"] > 0.3
    assert found["item_popularity"] < 0.01
    client.post("/v1/events", json={"events": same[:5]}).raise_for_status()  # sent again
    assert drift(client) == found
    other_model.save(bundle)
    client.post("/v1/admin/reload", headers={"Authorization": f"Bearer {ADMIN}"}).raise_for_status()
    client.post("/v1/events", json={"events": [dict(same[0], id="after")]}).raise_for_status()
    assert drift(client)["new_users"] == 0.0  # counting started again


def test_earlier_events_count_half_after_as_many_as_half(model, monkeypatch):
    monkeypatch.setattr(counting, "HALF", 4)
    state, seen, reference = State.of(model, "version"), Drift(), DriftReference(model)
    for user, item in ((model.user_ids[0], model.item_ids[0]), ("new user", "new item")):
        seen.saw(
            state, [Event(f"{user}/{n}", str(user), str(item), "interaction", 2.0, 0.0) for n in range(4)]
        )
    found = seen.values()
    assert found["new_users"] == pytest.approx(4 / (4 + 2))
    assert found["item_popularity"] == pytest.approx(
        distance(reference.item_counts([0] * 2 + [-1] * 4), reference.item_shares)
    )
