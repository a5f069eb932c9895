"""The code blocks of the documentation, and a workshop in which they are run as a reader would run them.

A block runs unless its title begins with "Not run by the tests", which the reader sees; then its commands
must still parse. To be quick, models have up to 64 dimensions and one epoch, and the packaged sample is a
part of itself.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from starlette.testclient import TestClient
from typer.testing import CliRunner

from twotower.baselines import ranking
from twotower.baselines.search import Ladder, climb
from twotower.cli import app
from twotower.config import load_config, recipes
from twotower.data.dataset import Dataset
from twotower.datasets import configured
from twotower.datasets import loading as datasets
from twotower.estimator import TwoTower
from twotower.workflows import load_parts

ROOT = Path(__file__).parents[2]
NOT_RUN = "Not run by the tests"
SHOWN_ONLY = {"text", "dockerfile"}
QUICK = {
    "training.epochs": "1",
    "training.refit": "false",
    "model.max_dim": "64",
    "evaluation.resamples": "100",
}
"""Settings that a command which trains gets, unless the block sets them."""
FEWER = {"--seeds": "2", "--trials": "2"}
"""Options that say how often, and what they are in a test."""
ITEMS, USERS = (3649, 2267), (14, 23)
"""Ids that the pages use; they are in the part of the sample."""
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page and line, what it is in, its title and its text."""

    page: str
    line: int
    language: str
    title: str
    code: str

    @property
    def runs(self) -> bool:
        return not self.title.startswith(NOT_RUN)

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def blocks_of(path: Path, text: str | None = None) -> list[Block]:
    """Return the fenced blocks of a Markdown file, in order."""
    text = path.read_text(encoding="utf-8") if text is None else text
    found = []
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match["info"])
        found.append(
            Block(
                path.name,
                text.count("\n", 0, match.start()) + 1,
                match["language"],
                title[1] if title else "",
                textwrap.dedent(match["code"]),
            )
        )
    assert text.count("```") == 2 * len(found), f"{path}: a fence that is not understood"
    return found


def commands(block: Block) -> list[str]:
    """Return the command lines of a shell block, those that go on after a backslash as one."""
    lines = block.code.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@cache
def _whole_sample() -> Dataset:
    return datasets.load_sample()


def part_of_sample() -> Dataset:
    """Return 150 users of the packaged sample and the 250 videos that they have seen most."""
    data = _whole_sample()
    users = [*USERS, *data.users["user_id"].to_list()[:150]]
    rows = data.interactions.filter(pl.col("user_id").is_in(users))
    often = rows.group_by("video_id").len().sort("len", "video_id", descending=True)["video_id"].to_list()
    items = [*ITEMS, *often[:250]]
    return Dataset.of(
        rows.filter(pl.col("video_id").is_in(items)),
        data.users.filter(pl.col("user_id").is_in(users)),
        data.items.filter(pl.col("video_id").is_in(items)),
        schema=data.schema,
    )


def make_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train 64 dimensions for one epoch, on a part of the sample; baselines take their first setting."""
    part, build = part_of_sample(), TwoTower.__init__
    monkeypatch.setattr(ranking, "climb", lambda ladders, worth: climb(_bottoms(ladders), worth))
    for module in (datasets, configured):
        monkeypatch.setattr(module, "load_sample", lambda: part)
    quick = {"epochs": 1, "refit": False, "max_dim": 64}
    monkeypatch.setattr(TwoTower, "__init__", lambda self, **given: build(self, **{**quick, **given}))


def _bottoms(ladders: Mapping[str, Ladder]) -> dict[str, Ladder]:
    """Return ladders of the first value alone."""
    return {name: Ladder((of.values[of.start],), closed=(True, True)) for name, of in ladders.items()}


class Workshop:
    """A folder in which blocks are run, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, Any] = {}
        self._client: TestClient | None = None

    def page(self, path: Path) -> None:
        """Run a page's blocks."""
        self.names = {"__name__": "__main__"}
        for block in blocks_of(path):
            try:
                self.run(block)
            except Exception as error:
                raise AssertionError(f"{block}: {error}\n{block.code}") from error
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None

    def run(self, block: Block) -> None:
        if block.language in SHOWN_ONLY:
            check_shown(block)
            return
        kinds = {
            "sh": self._shell,
            "console": self._console,
            "python": self._python,
            "toml": self._toml,
            "json": lambda given: json.loads(given.code),
            "yaml": lambda given: import_module("yaml").safe_load(given.code),
            "ini": check_unit,
        }
        assert block.language in kinds, f"{block}: nobody knows how to test {block.language!r}"
        if block.runs or block.language == "sh":
            kinds[block.language](block)

    def _python(self, block: Block) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile("\n" * block.line + block.code, block.page, "exec"), self.names)

    def _toml(self, block: Block) -> None:
        values = tomllib.loads(block.code)
        if block.title == "Part of a config":
            path = self.folder / "part.toml"
            data = 'interactions = "plays.csv"' if "schema" in values else 'source = "kuairec-sample"'
            rest = f"[data]\n{data}\n" if "data" not in values else '[schema]\nuser = "u"\nitem = "i"\n'
            path.write_text(f"{block.code}\n{rest}", encoding="utf-8")
            load_config(str(path))
            return
        if block.title.endswith(", as init writes it"):
            path = self.folder / block.title.split(",")[0]
            assert path.read_text(encoding="utf-8") == block.code
            return
        assert "data" in values, f"{block}: a whole config, or title it 'Part of a config'"
        path = self.folder / (block.title or re.findall(r"^# (\S+\.toml)", block.code)[0])
        path.write_text(block.code, encoding="utf-8")
        parts = load_parts(load_config(str(path)))
        assert min(len(parts.train), len(parts.validation), len(parts.test)) > 0

    def _shell(self, block: Block) -> None:
        for line in commands(block):
            words = shlex.split(line, comments=True)
            if words[0] == ".venv/bin/twotower":
                words[0] = "twotower"
            if words[0] == "twotower":
                parse(words[1:])
                if block.runs:
                    code, said = self._call(words[1:])
                    assert code == 0, f"{line}: exit code {code}\n{said}"
            elif words[0] == "curl" and block.runs:
                self._curl(words[1:])
            elif words[0] in _CHECKS:
                _CHECKS[words[0]](words)
            else:
                assert not block.runs, f"nobody knows how to test {line!r}"

    def _console(self, block: Block) -> None:
        for part in re.split(r"^\$ ", block.code, flags=re.M)[1:]:
            line, _, expected = part.partition("\n")
            words = shlex.split(line)
            assert words[0] == "twotower", f"nobody knows how to test {line!r}"
            parse(words[1:])
            _, said = self._call(words[1:])
            assert matches(expected, said), f"{line}: printed\n{said}\nand the page says\n{expected}"

    def _call(self, words: list[str]) -> tuple[int, str]:
        """Call the command line; one that trains does so quickly."""
        given = dict(word.split("=", 1) for word in words if "=" in word)
        words = [FEWER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        if words[0] == "tune" and not {"--trials", "--show-space"} & set(words):
            words += ["--trials", FEWER["--trials"]]
        if words[0] in ("train", "compare", "tune") and "--from" not in words:  # it takes no settings
            for key, value in QUICK.items():
                words = words if key in given else [*words, "--set", f"{key}={value}"]
        result = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1"}).invoke(app, words, prog_name="twotower")
        return result.exit_code, result.output

    def _curl(self, words: list[str]) -> None:
        url, method, data = "", None, None
        at = iter(words)
        for word in at:
            if word == "-d":
                data = next(at)
            elif word == "-X":
                method = next(at)
            else:
                assert re.match(r"localhost:8000/", word), f"curl {word!r}: not understood"
                url = word.removeprefix("localhost:8000")
        answer = self.client.request(method or ("GET" if data is None else "POST"), url, content=data)
        assert answer.status_code < 300, f"{url}: {answer.status_code} {answer.text}"

    @property
    def client(self) -> TestClient:
        """Whoever is served `runs/ranked`, or the last run made, as `twotower serve` does."""
        if self._client is None:
            from twotower.server import Settings, create_app

            run = self.folder / "runs" / "ranked"
            settings = Settings(bundle=run / "bundle", store=str(self.folder / "runs" / "ranked.events.db"))
            self._client = TestClient(
                create_app(settings), base_url="http://localhost:8000", client=("127.0.0.1", 1)
            )
            self._client.__enter__()
        return self._client


def parse(words: list[str]) -> None:
    """Make sure that a command line names a command, options and settings that there are."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("twotower", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    parsed = command.make_context(name, rest, parent=context)
    config = parsed.params.get("config")
    if config is not None and not config.endswith(".toml"):
        assert config in recipes() or "there is no" not in config


def matches(expected: str, said: str) -> bool:
    """Compare line by line; ``...`` stands for anything in a line, and alone for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") + r" *\n"
        for line in expected.rstrip("\n").split("\n")
    )
    return re.fullmatch(pattern, said.rstrip("\n") + "\n") is not None


def check_unit(block: Block) -> None:
    """Make sure that a systemd unit starts a command that there is."""
    (started,) = re.findall(r"^ExecStart=\S+/(twotower .*)$", block.code, flags=re.M)
    parse(shlex.split(started)[1:])


def check_shown(block: Block) -> None:
    """Make sure that a Dockerfile's command is one, and that it installs extras that there are."""
    if block.language == "dockerfile":
        (command,) = re.findall(r"^CMD (\[.*\])$", block.code, flags=re.M)
        parse(json.loads(command)[1:])
        for given in re.findall(r"/src\[([\w,]+)\]", block.code):
            _extras(given)


def _extras(given: str) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(given.split(",")) <= set(known["optional-dependencies"]), given


def _pip(words: list[str]) -> None:
    for extras in re.findall(r"twotower\[([\w,]+)\]", " ".join(words)):
        _extras(extras)


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert set(words[1:]) <= set(targets), words


def _script(words: list[str]) -> None:
    assert (ROOT / words[1]).is_file(), words


_CHECKS = {"pip": _pip, "make": _make, "python": _script}
