"""The OpenAPI is true: schemathesis sends what it allows and what it does not, and nothing is a 5xx."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies
from small_server import ADMIN, ServerProcess, run_of, uvicorn_of
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from twotower.server import Settings, Token, create_app

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


@pytest.mark.slow
@pytest.mark.parametrize("mounted", [False, True])
def test_whatever_is_sent_without_authority_is_not_answered(model, tmp_path, mounted):
    model.save(tmp_path / "bundle")
    tokens = [Token("a token for metrics", frozenset({"metrics"}))]
    app = create_app(Settings(tmp_path / "bundle", str(tmp_path / "events.db"), tokens=tokens))
    served = Starlette(routes=[Mount("/rec/v1", app)]) if mounted else app
    with TestClient(app), uvicorn_of(served) as port:
        tried, address = 0, f"http://127.0.0.1:{port}{'/rec/v1' if mounted else ''}"
        for found in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
            operation = found.ok()
            if operation.path in ("/healthz", "/readyz", "/metrics"):
                continue

            @settings(
                max_examples=6,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(), token=strategies.sampled_from(["", "metrics", "wrong"]))
            def send(case, token):
                answer = case.call(base_url=address, headers={"authorization": f"Bearer a token for {token}"})
                nowhere = (
                    "nothing at this path" in answer.text or answer.text == "Not Found"
                )  # the outer one's
                assert nowhere or answer.status_code in (401, 403, 405, 413), answer.text

            send()
            tried += 1
    assert tried > 12
