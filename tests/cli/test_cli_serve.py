"""Settings of ``twotower serve``: the command line, variables, and files that variables name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from twotower import server, workflows
from twotower.cli import app
from twotower.cli.serve import LIMITS


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Give a function that calls ``serve`` and returns its settings, without serving."""
    found: dict[str, Any] = {}

    class Finished:
        def __init__(self, path: Path) -> None:
            self.path, self.bundle = Path(path), Path(path) / "bundle"

    monkeypatch.setattr(workflows.Run, "finished", Finished)
    monkeypatch.setattr(server, "serve", lambda settings, **given: found.update(settings=settings, **given))

    def call_it(call: Any, *words: object, **env: str) -> Any:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found.clear()
        answer = call("serve", *words)
        return found if answer.code == 0 else answer

    return call_it


def test_every_option_has_a_variable_and_the_command_line_wins(call, served) -> None:
    given = served(
        call,
        TWOTOWER_RUNS="runs/a:runs/b",
        TWOTOWER_HOST="127.0.0.2",
        TWOTOWER_PORT="8123",
        TWOTOWER_STORE="redis://r:6379/0",
        TWOTOWER_TOKEN="0123456789abcdef",
        TWOTOWER_SPLIT="75/25",
        TWOTOWER_SALT="s",
        TWOTOWER_SHADOW="runs/c",
        TWOTOWER_WITHOUT_STORE="serve",
        TWOTOWER_EXCLUDE_SEEN="false",
        TWOTOWER_LIMITS="k=7 users=9",
        TWOTOWER_AUDIT_LOG="audit.jsonl",
        TWOTOWER_TRACES="http://localhost:4318",
        TWOTOWER_LOG_LEVEL="warning",
    )
    settings = given["settings"]
    assert (given["host"], given["port"], given["log_level"]) == ("127.0.0.2", 8123, "warning")
    assert settings.shares == {"a": 75.0, "b": 25.0}
    assert list(settings.bundles.values()) == [Path("runs/a/bundle"), Path("runs/b/bundle")]
    assert (settings.salt, settings.shadow) == ("s", {"c": Path("runs/c/bundle")})
    assert (settings.store, settings.token) == ("redis://r:6379/0", "0123456789abcdef")
    assert (settings.without_store, settings.exclude_seen) == ("serve", False)
    assert (settings.limits.k, settings.limits.users) == (7, 9)
    assert (settings.audit_log, settings.traces) == (Path("audit.jsonl"), "http://localhost:4318")
    again = served(call, "runs/x", "runs/y", "--split", "50/50", "--port", "8124")
    assert (again["port"], list(again["settings"].bundles)) == (8124, ["x", "y"])
    variables = {str(param.envvar) for param in _params() if param.envvar} | {
        f"TWOTOWER_{param.name}".upper() for param in _params() if not param.envvar
    }
    assert len(variables) == len(_params())


def _params() -> list[Any]:
    import typer

    command = typer.main.get_command(app)
    return [param for param in command.commands["serve"].params if param.name != "help"]


def test_a_variable_can_name_a_file_with_the_value(call, served, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("redis://user:secret@r:6379/0\n")
    (tmp_path / "admin").write_text("fedcba9876543210\n")
    (tmp_path / "limits").write_text("k=7\nusers=9\n")
    files = {
        f"TWOTOWER_{name}_FILE": str(tmp_path / file)
        for name, file in (("STORE", "store"), ("ADMIN_TOKEN", "admin"), ("LIMITS", "limits"))
    }
    settings = served(call, "runs/a", **files)["settings"]
    assert (settings.store, settings.admin_token) == ("redis://user:secret@r:6379/0", "fedcba9876543210")
    assert (settings.limits.k, settings.limits.users) == (7, 9)
    assert served(call, "runs/a", "--store", "e.db")["settings"].store == "e.db"
    both = served(call, "runs/a", TWOTOWER_STORE="other.db")
    assert both.code == 2
    assert "TWOTOWER_STORE and TWOTOWER_STORE_FILE are both set" in both.err
    assert "secret" not in both.err


def test_a_variable_that_sets_nothing_is_noted_unless_it_is_another_program_s(call, served) -> None:
    env = {"TWOTOWER_LIMIT": "k=7", "TWOTOWER_PORT_8000_TCP": "tcp://10.0.0.1", "TWOTOWER_MILVUS_TOKEN": "x"}
    served(call, "runs/a", TWOTOWER_SERVICE_PORT="8000", TWOTOWER_PORT="8123", TWOTOWER_OPEN="Yes", **env)
    said = call("serve", "runs/a").err.split("note: ")
    assert said[1:] == ["TWOTOWER_LIMIT sets nothing. Did you mean 'TWOTOWER_LIMITS'?\n"]


@pytest.mark.parametrize(
    ("words", "env", "message"),
    [
        (["a", "b"], {}, "2 runs need --split"),
        (["a"], {"TWOTOWER_SPLIT": "50/50"}, "--split needs several runs"),
        (["a", "--salt", "s"], {}, "--salt needs several models and --split"),
        (["a", "b", "--split", "50/30/20"], {}, "a number for each of the 2 runs"),
        (["a", "b", "--split", "half"], {}, "--split must be numbers such as 90/10"),
        (["a", "x/a", "--split", "50/50"], {}, "must have different names, got a, a"),
        (["a"], {"TWOTOWER_PORT": "tcp://10.0.0.1:80"}, "as Kubernetes sets TWOTOWER_PORT"),
        (["a"], {"TWOTOWER_OPEN": "maybe"}, "TWOTOWER_OPEN must be true or false, got 'maybe'"),
        (["a"], {"TWOTOWER_STORE_FILE": "no-file"}, "TWOTOWER_STORE_FILE must name a text file"),
        (["a"], {"TWOTOWER_ADMIN_TOKEN_FILE": "/dev/null"}, "names an empty file"),
    ],
)
def test_settings_that_do_not_fit_are_refused(call, served, words, env, message: str) -> None:
    answer = served(call, *words, **env)
    assert answer.code == 2
    assert message in " ".join(answer.err.split())


def test_the_limits_that_help_lists_are_those_that_there_are() -> None:
    assert set(LIMITS) == set(server.Limits.__dataclass_fields__)
