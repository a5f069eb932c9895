"""The OpenAPI is true: schemathesis sends what it allows and what it does not, and nothing is a 5xx."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")


@pytest.fixture
def schema(client):
    return schemathesis.openapi.from_asgi("/openapi.json", client.app)


def test_openapi_has_every_route_its_bodies_and_examples(asked):
    document = asked.get("/openapi.json").json()
    paths = {path: set(methods) for path, methods in document["paths"].items()}
    assert paths["/v1/recommend"] == {"post"}
    assert paths["/v1/items/{item_id}"] == {"get", "put", "delete"}
    assert {"/v1/events", "/v1/score", "/v1/similar/{item_id}", "/healthz", "/readyz", "/metrics"} < set(
        paths
    )
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"]
            assert operation["description"], f"{method} {path}"
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                body = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
                assert body["examples"]


lazy = schemathesis.pytest.from_fixture("schema")


@lazy.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_sent_is_answered_as_the_openapi_says(case):
    case.call_and_validate(
        headers={"authorization": "Bearer the admin's"},
        excluded_checks=[
            schemathesis.checks.CHECKS.get_one(name)
            for name in (
                "positive_data_acceptance",
                "unsupported_method",
                "ignored_auth",
                "missing_required_header",
            )
            if name in schemathesis.checks.CHECKS.get_all_names()
        ],
    )
