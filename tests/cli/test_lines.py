"""Messages are broken between words in a terminal, and left whole in files and pipes."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from twotower.cli.lines import fitted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module", autouse=True)
def narrow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "40")
        yield


WORDS = st.lists(st.text("abcé-/.", min_size=1, max_size=39), min_size=1, max_size=30)


@given(WORDS)
def test_lines_fit_and_no_word_is_lost_or_broken(words: list[str]) -> None:
    lines = fitted(" ".join(words), Terminal()).split("\n")
    assert [word for line in lines for word in line.split(" ")] == words
    assert all(cell_len(line) <= 40 for line in lines)


def test_lines_that_fit_are_as_they_were_and_a_path_stays_whole() -> None:
    path = "/a/folder/with/quite/a/long/name/and/then/a/file.csv"
    message = f"  two   spaces\n\nnote: {path}, column 'when' has two values for an id"
    assert fitted(message, Terminal()) == (
        f"  two   spaces\n\nnote:\n{path},\ncolumn 'when' has two values for an id"
    )
    assert fitted("who was shown what: name it with --write-exposures", Terminal()) == (
        "who was shown what: name it with\n--write-exposures"
    )


def test_a_number_stays_with_its_unit() -> None:
    message = "0 errors, 1 warning, rows: train 6300; 0.3 s"
    assert fitted(message, Terminal()) == "0 errors, 1 warning, rows: train 6300;\n0.3 s"


def test_a_file_or_a_pipe_gets_whole_lines() -> None:
    message = "word " * 100
    assert fitted(message, io.StringIO()) == message
