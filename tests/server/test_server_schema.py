"""The OpenAPI is true: schemathesis sends what it allows and what it does not, and nothing is a 5xx."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from small_server import ADMIN, ServerProcess, run_of

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")


CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
"""What must hold. That whatever the OpenAPI allows is accepted is not: it can't know which ids there are."""


@pytest.fixture(scope="module")
def schema(model, tmp_path_factory):
    process = ServerProcess(
        run_of(model, tmp_path_factory.mktemp("schema") / "run"), TWOTOWER_ADMIN_TOKEN=ADMIN
    )
    yield schemathesis.openapi.from_url(f"{process.address}openapi.json")
    assert process.stop() == 0


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


@pytest.mark.slow  # some hundred requests
def test_whatever_is_sent_is_answered_as_the_openapi_says(schema):
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def send(case):
            case.call_and_validate(headers={"authorization": f"Bearer {ADMIN}"}, checks=checks)

        send()
        tried += 1
    assert tried > 15
