"""Nobody in without authority: every route, however the application is mounted and the path is written."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import Any

import pytest
from small_server import ADMIN, run_of, uvicorn_of
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from typer.testing import CliRunner

from twotower.cli import app as cli
from twotower.errors import ConfigError
from twotower.server import Settings, Token, create_app
from twotower.server.access import HEALTH, OPEN, SCOPES, exposed, read_tokens
from twotower.server.scoped_routes import ScopedRoute, needs

SECRETS = {scope: f"a secret for {scope} alone" for scope in SCOPES}
TOKENS = [Token(secret, frozenset({scope})) for scope, secret in SECRETS.items()]
RUNNER = asyncio.Runner()
"""One event loop for all, which the locks of an application stay with."""
SCRIPTS = {f"/{name}.js" for name in ("api", "app", "docs", "elements", "item", "map", "search")}
NO_TOKEN = {"/healthz", "/readyz", "/", "/docs", "/style.css", "/colours.css"} | SCRIPTS
"""The whole of what answers without a token."""


@dataclass
class Asked:
    """Asks an ASGI application directly, so that a path is what the test says and no client tidies it."""

    app: Any
    prefix: str = ""
    root: str = ""

    async def _ask(self, method, path, headers, client):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": self.prefix + path,
            "raw_path": (self.prefix + path).encode(),
            "root_path": self.root,
            "query_string": b"",
            "headers": [(b"host", b"localhost"), *headers],
            "client": client,
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        got: dict[str, Any] = {}

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            got.setdefault(message["type"], message)

        await self.app(scope, receive, send)
        return got["http.response.start"]["status"]

    def __call__(self, method, path, token=None, client=("203.0.113.9", 1), headers=()):
        own = [(b"authorization", f"Bearer {token}".encode())] if token is not None else []
        return RUNNER.run(self._ask(method, path, [*own, *headers], client))


@contextlib.contextmanager
def started(app):
    """Run an application's lifespan in the loop."""
    life = app.router.lifespan_context(app)
    RUNNER.run(life.__aenter__())
    try:
        yield app
    finally:
        RUNNER.run(life.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def guarded(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    model.save(folder / "bundle")
    app = create_app(
        Settings(
            bundle=folder / "bundle", store=str(folder / "events.db"), tokens=TOKENS, hosts=["testserver"]
        )
    )
    with started(app):
        yield app


def with_root(app, root):
    async def asked(scope, receive, send):
        await app({**scope, "root_path": root}, receive, send)

    return asked


MOUNTINGS = {
    "standalone": Asked,
    "mounted": lambda app: Asked(Starlette(routes=[Mount("/rec", app)]), prefix="/rec"),
    "mounted twice": lambda app: Asked(
        Starlette(routes=[Mount("/a", Starlette(routes=[Mount("/v1", app)]))]), prefix="/a/v1"
    ),
    "root path, stripped by the proxy, put back by the server": lambda app: Asked(app, "/rec", "/rec"),
    "root path, stripped by the proxy": lambda app: Asked(app, "", "/rec"),
    "root path that looks like a route": lambda app: Asked(app, "/v1/admin", "/v1/admin"),
}


@pytest.fixture(params=MOUNTINGS)
def asked(guarded, request):
    return MOUNTINGS[request.param](guarded)


def walked(app):
    """Give method, path and need of every route."""
    for route in app.routes:
        assert isinstance(route, ScopedRoute)
        for method in route.methods:
            path = route.path_format.replace("{item_id}", "503").replace("{user_id}", "1003")
            # who is deleted is someone else than who is asked about
            yield method, path.replace("1003", "nobody") if method == "DELETE" else path, route.needs


def test_what_needs_no_token_is_a_short_list(guarded):
    found = {path for _, path, need in walked(guarded) if need in (OPEN, HEALTH)}
    assert found == NO_TOKEN
    assert len(list(walked(guarded))) == 35


def test_every_route_needs_its_scope_however_it_is_mounted(asked, guarded):
    for method, path, need in walked(guarded):
        if path in NO_TOKEN:
            assert asked(method, path) == 200, path
            continue
        assert asked(method, path) == 401, (method, path)
        assert asked(method, path, "wrong") == 401
        assert asked(method, path, "") == 401
        for scope, secret in SECRETS.items():
            if scope != need:
                assert asked(method, path, secret) == 403, (method, path, scope)
        if path != "/v1/items/503":  # changed in a test of its own
            assert asked(method, path, SECRETS[need]) in (200, 400), (method, path)


@pytest.mark.parametrize(
    "written",
    [
        "/{path}",
        "{path}/",
        "//{path}",
        "/.{path}",
        "/x/..{path}",
        "{path}//",
        "{path};x",
        "{path}\n",
        "{upper}",
        "/rec{path}",
        "/v1{path}",
        "{encoded}",
    ],
)
def test_no_way_to_write_a_path_avoids_the_check(asked, guarded, written):
    for method, path, _ in walked(guarded):
        if path not in NO_TOKEN:
            other = written.format(path=path, upper=path.upper(), encoded="/" + path[1:].replace("/", "%2F"))
            assert asked(method, other) in (401, 404, 405), (method, other)


def test_other_methods_tell_nothing(asked, guarded):
    for _, path, need in walked(guarded):
        for method in ("HEAD", "OPTIONS", "TRACE", "PATCH", "FOO"):
            assert asked(method, path) in ((401,) if need not in (OPEN, HEALTH) else (405,))


@pytest.mark.parametrize("root", ["", "/rec"])
def test_under_uvicorn(guarded, root):
    import http.client

    with uvicorn_of(guarded, root_path=root) as port:
        for path in ("/v1/model", "/%76%31/model", "/v1%2Fmodel", "//v1/model", "/rec/v1/model", "/metrics"):
            for token in (None, SECRETS["read"], SECRETS["admin"]):
                talk = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                talk.request(
                    "GET", path, headers={} if token is None else {"authorization": f"Bearer {token}"}
                )
                status = talk.getresponse().status
                talk.close()
                good = token == SECRETS["read"] and path != "/metrics"
                assert status in ((200, 404) if good else (401, 403, 404)), (path, token)
                if path == "/v1/model":
                    assert status == (401 if token is None else 200 if good else 403)


def test_items_are_changed_by_their_scope_alone(serving):
    client = serving(tokens=TOKENS)
    path, body = "/v1/items/900", {"columns": {"kind": "kind 1"}}
    for scope, secret in SECRETS.items():
        headers = {"authorization": f"Bearer {secret}"}
        expected = (201, 204) if scope == "items" else (403, 403)
        assert client.put(path, json=body, headers=headers).status_code == expected[0]
        assert client.delete(path, headers=headers).status_code == expected[1]


def test_a_route_that_declares_nothing_is_refused_at_start(bundle, tmp_path):
    async def more() -> dict[str, str]:
        return {}

    for add in (
        lambda app: app.get("/more")(more),
        lambda app: app.add_route("/more", more),
        lambda app: app.mount("/more", Starlette()),
    ):
        app = create_app(Settings(bundle=bundle, store=str(tmp_path / "events.db"), tokens=TOKENS))
        add(app)
        assert Asked(app)("GET", "/v1/model") == 401
        with pytest.raises(RuntimeError, match="/more' does not say what it needs"), started(app):
            pass


def test_a_route_of_ones_own_can_be_added(bundle, tmp_path):
    app = create_app(Settings(bundle=bundle, store=str(tmp_path / "events.db"), tokens=TOKENS))

    @needs("read")
    async def more() -> dict[str, str]:
        return {}

    app.router.routes.append(ScopedRoute("/more", more, methods=["GET"]))
    with started(app):
        assert Asked(app)("GET", "/more") == 401
        assert Asked(app)("GET", "/more", SECRETS["read"]) == 200


def test_a_mounted_application_that_was_not_started_says_so(bundle, tmp_path):
    app = create_app(Settings(bundle=bundle, store=str(tmp_path / "events.db"), tokens=TOKENS))
    asked = Asked(Starlette(routes=[Mount("/rec", app)]), prefix="/rec")
    assert asked("GET", "/v1/model") == 401
    assert asked("GET", "/v1/model", SECRETS["read"]) == 503
    assert asked("GET", "/healthz") == 200
    assert asked("GET", "/readyz") == 503


# without a token


def test_without_a_token_only_this_machine_is_answered(bundle, tmp_path):
    settings = {"bundle": bundle, "store": str(tmp_path / "events.db")}
    app = create_app(Settings(**settings))
    with started(app):
        ask = Asked(app)
        for client in (("127.0.0.1", 5), ("127.8.0.1", 5), ("::1", 5), ("::ffff:127.0.0.1", 5), None):
            assert ask("GET", "/v1/model", client=client) == 200
        for client in (("203.0.113.9", 5), ("::2", 5), ("10.0.0.1", 5), ("localhost", 5), ("", 5)):
            assert ask("GET", "/v1/model", client=client) == 403
            assert ask("GET", "/metrics", client=client) == 403
            assert ask("GET", "/healthz", client=client) == 200
        assert ask("POST", "/v1/admin/reload", client=("127.0.0.1", 5)) == 403
        for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-host"):
            given = [(name.encode(), b"127.0.0.1")]
            assert ask("GET", "/v1/model", client=("127.0.0.1", 5), headers=given) == 403
    app = create_app(Settings(**settings, open=True))
    with started(app):
        assert Asked(app)("GET", "/v1/model") == 200
        assert Asked(app)("POST", "/v1/admin/reload") == 403


def test_two_authorization_headers_are_refused(guarded):
    right = TOKENS[0].secret
    for other in (right, "wrong"):
        more = [(b"authorization", f"Bearer {other}".encode())]
        assert Asked(guarded)("GET", "/v1/model", right, headers=more) == 400


def test_a_token_for_one_thing_opens_no_other(bundle, tmp_path):
    settings = Settings(
        bundle=bundle, store=str(tmp_path / "e.db"), tokens=[Token("only for reading", ["read"])]
    )
    app = create_app(settings)
    with started(app):
        assert Asked(app)("GET", "/v1/model", client=("127.0.0.1", 5)) == 401
        assert Asked(app)("DELETE", "/v1/items/503", client=("127.0.0.1", 5)) == 401
        assert Asked(app)("DELETE", "/v1/items/503", "only for reading") == 403
        assert Asked(app)("GET", "/v1/model", "only for reading") == 200


# hosts and sites


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:8000", 200),
        ("127.0.0.1:8000", 200),
        ("192.0.2.7", 200),
        ("[::1]:8000", 200),
        ("recs.example", 200),
        ("recs.example:443", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("recs.example.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@localhost", 403),
        ("localhost@evil.example", 403),
        ("", 403),
        ("a b", 403),
        ("[::1", 403),
        ("localhost:port", 403),
    ],
)
def test_hosts(bundle, tmp_path, host, status):
    settings = Settings(bundle=bundle, store=str(tmp_path / "e.db"), hosts=["recs.example"], open=True)
    app = create_app(settings)
    with TestClient(app) as client:
        for path in ("/v1/model", "/", "/metrics"):
            assert client.get(path, headers={"host": host}).status_code == status
        assert client.get("/healthz", headers={"host": host}).status_code == 200
        assert client.get("/readyz", headers={"host": host}).status_code == 200
        assert (
            client.get("/v1/model", headers=[("host", "localhost"), ("host", "localhost")]).status_code == 400
        )


def test_all_hosts_can_be_allowed(serving):
    assert serving(hosts=["*"]).get("/v1/model", headers={"host": "any.example"}).status_code == 200


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://testserver"}, 200),
        ({"origin": "https://testserver"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "http://localhost"}, 403),
        ({"origin": "http://testserver:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"origin": "https://testserver", "host": "127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:3000", "host": "127.0.0.1:8000"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused_under_a_root_path_too(serving, mounted, headers, status):
    client = serving()
    if mounted:
        client = TestClient(Starlette(routes=[Mount("/rec", client.app)]))
    prefix = "/rec" if mounted else ""
    assert client.get(f"{prefix}/v1/model", headers=headers).status_code == status
    assert client.post(f"{prefix}/v1/score", headers=headers).status_code == (400 if status == 200 else 403)
    assert client.get(f"{prefix}/healthz", headers=headers).status_code == 200


# tokens


def refusal(call):
    with pytest.raises(ConfigError) as failure:
        call()
    return str(failure.value)


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "must not be empty"),
        ("   ", "must not be empty"),
        ("\t\n", "must not be empty"),
        ("schlüssel", "printable ASCII"),
        ("a\x00b", "printable ASCII"),
        ("secret\n", "printable ASCII"),
        (" secret", "begin or end with a space"),
    ],
)
@pytest.mark.parametrize("name", ["token", "admin_token"])
def test_a_token_that_can_not_be_one_is_refused_at_start(tmp_path, secret, words, name):
    said = refusal(
        lambda: create_app(Settings(bundle=tmp_path, store=str(tmp_path / "e.db"), **{name: secret}))
    )
    assert words in said
    assert not secret.strip() or secret not in said
    assert words in refusal(lambda: Token(secret, frozenset({"read"})))


def test_scopes_are_checked():
    assert "'raed'. Did you mean 'read'?" in refusal(lambda: Token("secret", frozenset({"raed"})))
    assert "at least one of the scopes" in refusal(lambda: Token("secret", frozenset()))


def test_secrets_are_not_shown():
    assert "hidden" not in repr(
        Settings(bundle=".", store="x", token="hidden", tokens=[Token("hidden", {"read"})])
    )


def test_tokens_come_from_a_file_and_are_read_again(serving, tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# ours\n\nread,events  the old one\nadmin the admin's own\n")
    client = serving(token_file=path)

    def status(secret):
        return client.get("/v1/model", headers={"authorization": f"Bearer {secret}"}).status_code

    assert (status("the old one"), status("the new one"), status("the admin's own")) == (200, 401, 403)
    path.write_text("read the old one\nread the new one\n")
    client.app.state.service.access.load()
    assert (status("the old one"), status("the new one")) == (200, 200)
    path.write_text("read the new one\n")
    client.app.state.service.access.load()
    assert (status("the old one"), status("the new one")) == (401, 200)
    for wrong in ("", "read\n", "reed the new one\n", "read schlüssel\n"):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match="--token-file"):
            client.app.state.service.access.load()
        assert status("the new one") == 200
    refusal(lambda: read_tokens(tmp_path / "none"))
    refusal(lambda: read_tokens(tmp_path))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "regular file" in refusal(lambda: read_tokens(tmp_path / "pipe"))


def test_what_is_wrong_with_a_file_is_said_by_line_and_without_the_secret(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("read good enough\nreed hush-hush\n")
    said = refusal(lambda: read_tokens(path))
    assert "line 2" in said
    assert "'reed'. Did you mean 'read'?" in said
    assert "hush" not in said
    path.write_text("hush-hush read\n")
    said = refusal(lambda: read_tokens(path))
    assert "stand first" in said
    assert "hush" not in said


def test_open_and_a_token_contradict_each_other(tmp_path):
    given = {"bundle": tmp_path, "store": str(tmp_path / "e.db"), "open": True}
    assert "leave --open out" in refusal(lambda: create_app(Settings(**given, token="a long enough one")))
    create_app(Settings(**given, admin_token=ADMIN))


def test_a_short_token_is_warned_of(tmp_path, caplog):
    create_app(Settings(bundle=tmp_path, store=str(tmp_path / "e.db"), token="short"))
    assert "can be guessed" in caplog.text


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("", True),
        ("0", True),
        ("192.0.2.1", True),
        ("no.such.host.invalid", False),
    ],
)
def test_what_is_exposed(host, answer):
    assert exposed(host) is answer


# the command line


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        ([], {"TWOTOWER_TOKEN": ""}, "TWOTOWER_TOKEN is set but empty; unset it"),
        ([], {"TWOTOWER_TOKEN": "  "}, "TWOTOWER_TOKEN is set but empty; unset it"),
        ([], {"TWOTOWER_ADMIN_TOKEN": ""}, "TWOTOWER_ADMIN_TOKEN is set but empty"),
        ([], {"TWOTOWER_TOKEN_FILE": ""}, "TWOTOWER_TOKEN_FILE is set but empty"),
        ([], {"TWOTOWER_TOKEN": "ключ"}, "printable ASCII"),
        (["--token", ""], {}, "must not be empty"),
        (["--admin-token", " "], {}, "must not be empty"),
        (["--token-file", "no such"], {}, "'no such' can't be read"),
        (["--host", "0.0.0.0"], {}, "set TWOTOWER_TOKEN, or use --open"),
        (["--host", ""], {}, "set TWOTOWER_TOKEN, or use --open"),
        (
            ["--host", "0.0.0.0"],
            {"TWOTOWER_ADMIN_TOKEN": "an admin's secret"},
            "set TWOTOWER_TOKEN, or use --open",
        ),
        (["--open"], {"TWOTOWER_TOKEN": "a long enough one"}, "leave --open out"),
    ],
)
def test_what_is_not_safe_is_refused_at_start(model, tmp_path, arguments, env, words):
    run = run_of(model, tmp_path / "run")
    result = CliRunner().invoke(cli, ["serve", str(run), "--port", "0", *arguments], env=env)
    assert result.exit_code == 2, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
