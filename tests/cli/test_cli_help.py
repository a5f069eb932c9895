"""Help and examples of every command that is registered, and what is typed almost right."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.main import get_command

from small_tables import write_tables
from twotower.cli import app, main
from twotower.server.exposures import Exposures
from twotower.server.store import SqliteStore
from twotower.server.traffic import Traffic

GROUP: Any = get_command(app)
COMMANDS: list[str] = list(GROUP.commands)

NOT_RUN = {"forget", "demo", "fetch", "train", "compare", "tune", "serve", "publish"}
"""Commands whose example takes long, needs a network or a database, or does not end; it is only parsed."""


def examples(command: str) -> list[list[str]]:
    """Return the words of each example in a command's help, after ``twotower``."""
    lines = GROUP.commands[command].epilog.splitlines()
    return [shlex.split(line.split("twotower ", 1)[1]) for line in lines if "twotower " in line]


def takes(command: str, metavar: str) -> bool:
    """Say whether an argument of a command is such a thing."""
    params = GROUP.commands[command].params
    return any(param.param_type_name == "argument" and param.metavar == metavar for param in params)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """Return a folder with the files that the examples name, and a run in it of the ids they name."""
    folder = tmp_path_factory.mktemp("examples")
    write_tables(folder)
    ratings = pl.read_csv(folder / "events.csv").rename({"film": "film_id", "person": "user_id"})
    ratings.rename({"stars": "rating", "at": "timestamp"}).write_csv(folder / "ratings.csv")
    films = pl.read_parquet(folder / "items.parquet").rename({"film": "film_id"})
    films.with_columns(pl.col("genres").cast(pl.List(pl.String)).list.join("|")).write_csv(
        folder / "films.csv"
    )
    pl.DataFrame({"person": [1, 2], "film": [3, 4]}).write_csv(folder / "pairs.csv")
    shutil.copytree(run, folder / "runs" / "first")
    store = SqliteStore(folder / "runs" / "first.events.db")
    asyncio.run(split(store))
    return folder


async def split(store: SqliteStore) -> None:
    """Make a store of a server that two runs share."""
    await store.open()
    exposures = Exposures(store)
    exposures.saw("1", "first", "v", Traffic({"first": 50.0, "second": 50.0}))
    await exposures.flush()
    await store.close()


def known(words: list[str]) -> list[str]:
    """Return an example with an item that the small run has, for one of KuaiRec's."""
    return ["14" if word == "3649" else word for word in words]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_that_parses(command: str) -> None:
    found = examples(command)
    assert found
    for words in found:
        assert words[0] == command
        GROUP.commands[command].make_context(command, words[1:])


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in NOT_RUN])
def test_examples_run(call, command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    if command == "check":  # of the config that init writes
        call("init", "ratings.csv", "films.csv", "--out", "films.toml")
    else:
        Path("films.toml").unlink(missing_ok=True)
    json = ["--json"] if any("--json" in param.opts for param in GROUP.commands[command].params) else []
    for words in examples(command):
        answer = call(*known(words), *json)
        assert answer.code == 0, answer.err
        assert "Traceback" not in answer.err
        assert not json or answer.json  # alone on stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_plain_and_narrow(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.argv", ["twotower", *([command] if command else []), "--help"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr()
    assert (stopped.value.code, said.err) == (0, "")
    assert f"Example: twotower {command}" in said.out
    assert re.search(r"[\x1b{}─-╿]", said.out) is None
    # an example stays on its line, to be copied
    assert max(len(line) for line in said.out.splitlines() if "twotower " not in line) <= 60


@pytest.mark.parametrize("command", COMMANDS)
def test_everything_is_described(command: str) -> None:
    found = GROUP.commands[command]
    assert found.help.split("\n")[0].endswith(".")
    for param in found.params:
        assert param.help, f"{command} {param.name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_option_names_the_nearest(call, command: str) -> None:
    for param in GROUP.commands[command].params:
        name = param.opts[0]
        if param.param_type_name == "option" and len(name) > 5:
            answer = call(command, name[:-1] + "xy"[name.endswith("x")])
            assert answer.code == 2
            assert f"Did you mean '{name}'?" in answer.err
            assert f"`twotower {command} --help` says more" in answer.err
            assert len(answer.err.splitlines()) == 1
            assert answer.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_number_that_is_none_is_told_with_what_was_typed(command: str) -> None:
    for param in GROUP.commands[command].params:
        if param.param_type_name == "argument" or param.is_flag:
            continue
        said = ""
        try:
            GROUP.commands[command].make_context(command, [*examples(command)[0][1:], param.opts[0], "ten"])
        except typer.BadParameter as error:
            said = error.message
        assert "Input should" not in said, f"{param.opts[0]} needs a parser of cli/options.py"
        if param.metavar in ("N", "X", "SHARE"):
            assert re.fullmatch(r"must be a .*number.*, got 'ten'", said)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistyped_command_names_the_nearest(call, command: str) -> None:
    wrong = command[:-1] + command[-1] * 2
    answer = call(wrong)
    assert (answer.code, answer.out) == (2, "")
    said = f"error: unknown command '{wrong}'. Did you mean '{command}'? `twotower --help` says more\n"
    assert answer.err == said


@pytest.mark.parametrize("wrong", ["none", "a file", "a folder", "a bundle"])
@pytest.mark.parametrize("command", [name for name in COMMANDS if takes(name, "RUN")])
def test_what_is_no_run_is_one_error(
    call, command: str, wrong: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    path, said = {
        "none": ("runs/firts", "there is no run in runs/firts. Did you mean 'first'?"),
        "a file": ("ratings.csv", "a run is a directory, ratings.csv is a file"),
        "a folder": (".", "there is no run in .; make one with `twotower train CONFIG --out .`"),
        "a bundle": ("runs/first/bundle", "is a bundle, not a run; name the run: runs/first"),
    }[wrong]
    words = [path if word == "runs/first" else word for word in examples(command)[0]]
    answer = call(*words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"error: {said}") or said in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("kuairec-sampel", "Did you mean 'kuairec-sample'?"),
        ("confg.toml", "Did you mean 'config.toml'?"),
        (".", "'.' is a folder. Did you mean 'broken.toml'?"),
        ("ratings.csv", "run `twotower init ratings.csv` to write a config for it"),
        ("broken.toml", "line 2, column 7): dim = = 8"),
    ],
)
@pytest.mark.parametrize("command", [name for name in COMMANDS if takes(name, "CONFIG")])
def test_what_is_no_config_is_one_error(
    call, command: str, path: str, said: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    Path("broken.toml").write_text("[model]\ndim = = 8\n")
    words = examples(command)[0]
    answer = call(words[0], path, *words[2:])
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not Path("runs", "first", "checkpoints", "new").exists()


def test_of_two_values_for_one_setting_the_last_counts_and_it_is_said(call, place: Path) -> None:
    settings = ("--set", "model.dim=16", "--set", "model.dim=abc")
    answer = call("check", place / "config.toml", *settings)
    assert answer.code == 2
    assert "warning: --set model.dim is set twice, to 16 and abc; the last one is used\n" in answer.err
    assert "'model.dim' must be 'auto' or a whole number, got 'abc'" in answer.err
