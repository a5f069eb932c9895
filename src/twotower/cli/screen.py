"""`Screen`: the last thing a command prints. It fits 80 x 24 and starts with the result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

LINES = 23
"""Most lines of a screen: 24, less one for the prompt."""
WIDEST = 100
"""Most cells of a line, on any terminal."""
_NARROWEST = 40
_INDENT = 2
_GAP = 2
_HEAD = 25
"""Most cells of a column's heading."""
_FACT = 6
"""Cells for the name of a fact."""

_WORDS = re.compile(r"\[[^\]]*\]\S*|\S+")
"""An interval in brackets is one word, so that it is not broken."""

STYLES = {"better": "green", "worse": "red", "unclear": "yellow"}
"""Colours of the words for the direction of a difference; the words are clear without colour."""


@dataclass(frozen=True)
class Verdict:
    """A sentence that compares the model with a baseline.

    Attributes:
        says: the sentence.
        way: ``"better"``, ``"worse"``, ``"unclear"``; or empty if it isn't a judgement.
    """

    says: str
    way: str = ""


@dataclass(frozen=True)
class Table:
    """A few metrics.

    Attributes:
        heads: names of the columns.
        rows: cells, as many as heads. A last cell that is in `STYLES` is printed in its colour.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Screen:
    """The result of a command, ready to print.

    Attributes:
        title: what was done.
        facts: name and text: the data, the model.
        verdicts: sentences, the most important first.
        table: about three metrics, or None.
        items: title and lines of a short list, such as recommended items; lines are cut to the width.
        saved: a directory, or empty.
        commands: the next commands, each as its words; a long `Path` is printed as RUN.
        ends: a last sentence, such as where to read more.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    table: Table | None = None
    items: tuple[str, tuple[str, ...]] = ("", ())
    saved: str = ""
    commands: tuple[tuple[str | Path, ...], ...] = ()
    ends: str = ""


def print_screen(console: Console, screen: Screen) -> None:
    """Print a screen, no wider than the console."""
    for line in lines_of(screen, console.width):
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def lines_of(screen: Screen, width: int) -> list[Text]:
    """Return the lines of a screen for a console of ``width`` cells."""
    width = max(min(width, WIDEST), _NARROWEST)
    parts = [
        [Text(clipped(screen.title, width), style="bold"), *_facts(screen.facts, width)],
        [line for verdict in screen.verdicts for line in _sentence(verdict, width)],
        [] if screen.table is None else _table(screen.table, width),
        _items(*screen.items, width),
        [*_saved(screen.saved, width), *_commands(screen.commands, width)],
        [Text(line, style="dim") for line in wrapped(screen.ends, width)],
    ]
    found: list[Text] = []
    for part in parts:
        if part:
            found += [*([Text("")] if found else []), *part]
    while len(found) > LINES and any(not line for line in found):
        found.reverse()
        found.remove(Text(""))
        found.reverse()
    return found


def clipped(text: str, width: int) -> str:
    """Return a text of at most ``width`` cells, shortened in the middle if longer.

    >>> clipped("runs/a-very-long-name/first", 16)
    'runs/a-…me/first'
    """
    text = printable(text)
    if cell_len(text) <= width:
        return text
    left = (width - 1) // 2
    start, end = set_cell_size(text, left).rstrip(), ""
    for letter in reversed(text):
        if cell_len(letter + end) > width - 1 - left:
            break
        end = letter + end
    return f"{start}…{end}"


def printable(text: str) -> str:
    """Return a text on one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split(" "))


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of a text, broken between words; too long a word is split."""
    lines: list[str] = []
    line = ""
    for word in _WORDS.findall(printable(text)):
        if line and cell_len(line) + 1 + cell_len(word) <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        # of a word without width (a lone emoji modifier) chop_cells would leave nothing
        *whole, line = chop_cells(word, width) if cell_len(word) > width else [word]
        lines += whole
    return [*lines, line] if line else lines


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Pad a text with spaces to ``width`` cells; a wide character takes two."""
    room = " " * (width - cell_len(text))
    return room + text if right else text + room


def _facts(facts: Sequence[tuple[str, str]], width: int) -> Iterator[Text]:
    for name, text in facts:
        start = _INDENT + _FACT + _GAP
        for place, line in enumerate(wrapped(text, width - start)):
            head = padded(name if place == 0 else "", _FACT + _GAP)
            yield Text.assemble(" " * _INDENT, (head, "dim"), line)


def _sentence(verdict: Verdict, width: int) -> list[Text]:
    style = STYLES.get(verdict.way, "")
    return [
        Text(line, style=f"bold {style}".strip() if style else "") for line in wrapped(verdict.says, width)
    ]


def _table(table: Table, width: int) -> list[Text]:
    """Return a table, first column left-aligned; too wide a row continues on the next line."""
    heads = [clipped(head, _HEAD) for head in table.heads]
    rows = [tuple(map(printable, row)) for row in table.rows]
    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    room = width - _INDENT - _GAP * (len(heads) - 1)
    found: list[Text] = []
    for cells in (heads, *rows):
        style = "dim" if cells is heads else STYLES.get(cells[-1], "")
        if sum(widths) <= room:
            found.append(_row(cells, widths, style=style))
        else:  # too narrow for one line
            words = "  ".join(cells)
            found += [Text(" " * _INDENT + line, style=style) for line in wrapped(words, width - _INDENT)]
    return found


def _row(cells: Sequence[str], widths: Sequence[int], *, style: str) -> Text:
    line = Text(" " * _INDENT)
    for place, (cell, size) in enumerate(zip(cells, widths, strict=True)):
        last = place == len(widths) - 1
        if place:
            line.append(" " * _GAP)
        left = place == 0 or last
        text = padded(cell, size, right=not left)
        line.append(text.rstrip() if last else text, style=style if last or style == "dim" else "")
    line.rstrip()
    return line


def _items(title: str, lines: Sequence[str], width: int) -> list[Text]:
    if not lines:
        return []
    room = width - _INDENT
    shown = [line if cell_len(line) <= room else f"{set_cell_size(line, room - 1)}…" for line in lines]
    return [Text(clipped(title, width)), *(Text(" " * _INDENT + line) for line in map(printable, shown))]


def _saved(path: str, width: int) -> list[Text]:
    if not path:
        return []
    head = "saved in  "
    return [Text.assemble((head, "dim"), clipped(path, width - len(head)))]


def _commands(commands: Sequence[Sequence[str | Path]], width: int) -> list[Text]:
    """Return each command on one line, or on several that end with a backslash, as a shell accepts.

    Too long a path is printed as RUN.
    """
    found: list[Text] = []
    head = "next      "
    for place, words in enumerate(commands):
        start = Text(head if place == 0 else " " * len(head), style="dim")
        lines = _typed(words, width - len(head))
        for number, line in enumerate(lines):
            found.append((start if number == 0 else Text(" " * (len(head) + 2))) + Text(line, style="cyan"))
    return found


def _typed(words: Sequence[str | Path], room: int) -> list[str]:
    """Return the lines of a command; an option and its value stay on one."""
    quoted = [shlex.quote(str(word)) for word in words]
    if cell_len(" ".join(quoted)) <= room:
        return [" ".join(quoted)]
    inside = room - 4  # the indent, and the backslash
    units: list[str] = []
    for word, text in zip(words, quoted, strict=True):
        shown = "RUN" if isinstance(word, Path) and cell_len(text) > inside else text
        value = (
            bool(units) and units[-1].startswith("--") and " " not in units[-1] and not shown.startswith("-")
        )
        if value and cell_len(units[-1]) + 1 + cell_len(shown) <= inside:
            units[-1] += f" {shown}"
        else:
            units.append(shown)
    lines: list[str] = []
    for unit in units:
        if lines and cell_len(lines[-1]) + 1 + cell_len(unit) <= inside:
            lines[-1] += f" {unit}"
        else:
            lines += [unit] if cell_len(unit) <= inside else chop_cells(unit, inside)
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
