"""Where the output goes: terminals, pipes whose reader goes away, full disks, closed streams."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from twotower.cli import main
from twotower.cli.output import log

DRAWN = re.compile(r"[\x1b\r─-╿]")


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def broken() -> Iterator[TextIO]:
    """Give a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8", closefd=False) as stream:
        yield stream
    os.close(writer)


def run_main(monkeypatch: pytest.MonkeyPatch, *args: object) -> int:
    monkeypatch.setattr("sys.argv", ["twotower", *map(str, args)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code  # type: ignore[return-value]


@pytest.mark.parametrize(
    "words", [["recommend", "RUN", "--user", "3"], ["evaluate", "RUN"], ["--help"], ["recommend", "--help"]]
)
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_reader_that_went_away_is_no_error(
    words: list[str],
    run: Path,
    broken: TextIO,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdout", broken)
    assert run_main(monkeypatch, *(run if word == "RUN" else word for word in words)) == 0
    broken.flush()  # what is left goes nowhere, without an error at the end of the process
    assert "error" not in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_training_goes_on_when_nobody_reads_its_log(
    tables: Path, tmp_path: Path, broken: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", broken)
    out = tmp_path / "run"
    assert run_main(monkeypatch, "train", tables / "config.toml", "--out", out) == 0
    log("and on")
    assert (out / "metrics.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["recommend", "RUN", "--user", "3"], ["--help"]])
def test_a_full_disk_under_stdout_is_one_error(
    words: list[str], run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # whose end must not fail again
        monkeypatch.setattr("sys.stdout", full)
        assert run_main(monkeypatch, *(run if word == "RUN" else word for word in words)) == 2
    assert capsys.readouterr().err.endswith(
        "error: the disk is full: No space left on device; free some space\n"
    )


def test_closed_streams_are_no_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert run_main(monkeypatch, "recommend", run, "--user", "3") == 0
    assert run_main(monkeypatch, "recommend", run, "--user", "nobody") == 2
    for stream in (sys.stdout, sys.stderr):
        stream.close()


@pytest.mark.parametrize(
    "words", [["recommend", "--user", "3"], ["evaluate", "--full"], ["index", "--kind", "exact"]]
)
def test_what_is_piped_has_no_drawn_lines_or_colours(call, run: Path, words: list[str]) -> None:
    answer = call(words[0], run, *words[1:])
    assert answer.code == 0, answer.err
    assert DRAWN.search(answer.out + answer.err) is None
    assert "---" in answer.out


@pytest.mark.parametrize(("variable", "coloured"), [("NO_COLOR", False), ("LANG", True)])
def test_colours_are_for_terminals_without_no_color(
    variable: str, coloured: bool, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv(variable, "1")
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    settings = ("--set", "schema.timestamp=none", "--set", "split.method=temporal")
    assert run_main(monkeypatch, "check", tables / "config.toml", *settings) == 2
    said = terminal.getvalue()
    assert "\x1b[" in said  # bold is no colour
    assert (re.search(r"\x1b\[[0-9;]*3[0-9]m", said) is not None) == coloured


@pytest.mark.parametrize("columns", [40, 60, 100])
def test_tables_keep_to_the_width(
    columns: int, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run_main(monkeypatch, "evaluate", run, "--full") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("test set")) <= columns
    if columns >= 60:  # no number is cut or broken
        assert not any("…" in line for line in lines if not line.startswith("saved in"))
    assert sum("NDCG" in line for line in lines) >= 1
