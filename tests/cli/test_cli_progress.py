"""What is shown of work under way, where there is no terminal and where there is one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from twotower.cli.progress import Bar, Counter, Lines, counting


def test_lines_say_every_tenth_once(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines("users")
    for done in range(26):
        lines.show(done, 25)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.split() == [word for tenth in range(0, 101, 10) for word in ("users:", f"{tenth}%")]


def test_lines_restart_with_another_piece_and_wait_for_a_total(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines("fetch")
    lines.show(3.0, None)
    lines.show(1.0, 1.0, "a.zip")
    lines.show(1.0, 1.0, "b.zip")
    assert capsys.readouterr().err.splitlines() == ["a.zip: 100%", "b.zip: 100%"]


def test_each_piece_has_a_bar() -> None:
    with Progress(console=Console(file=io.StringIO())) as progress:
        bar = Bar(progress, "fetch")
        bar.show(1.0, None)
        bar.show(2.0, 4.0)
        bar.show(5.0, 10.0, "more")
        tasks = [(task.description, task.completed, task.total) for task in progress.tasks]
    assert tasks == [("fetch", 2.0, 4.0), ("more", 5.0, 10.0)]


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bar), (False, Lines)])
def test_a_bar_is_for_terminals(terminal: bool, kind: type[Counter], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    with counting("users") as counter:
        assert type(counter) is kind


def test_a_counter_of_no_kind_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Counter()  # type: ignore[abstract]
