"""Output of commands: results as tables or JSON on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twotower.cli.errors import forget
from twotower.cli.lines import fitted

if TYPE_CHECKING:
    import polars as pl

_PIPED_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, unless COLUMNS says otherwise."""

_HEAD_WIDTH = 14
"""Cells that the name of a display column may take when its content is narrower."""
BETWEEN = 2
"""Cells between two columns of a table."""


_DASHES = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
"""A table in a file or a pipe: `rich.box.SIMPLE_HEAD` without drawn lines."""


class _Results(Console):
    """Prints to stdout."""

    def on_broken_pipe(self) -> None:
        """Raise, so that `guarded` handles a closed pipe; rich would end the process."""
        raise BrokenPipeError


def log(line: str) -> None:
    """Print a line to stderr. If stderr is closed, the work continues silently."""
    try:
        print(fitted(line, sys.stderr), file=sys.stderr, flush=True)
    except BrokenPipeError:
        forget(sys.stderr)


def say(line: str) -> None:
    """Print a line of the result to stdout."""
    print(fitted(line, sys.stdout))


def print_json(value: Any) -> None:
    """Print one JSON object to stdout. NaN and infinity become null."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(_finite(value), indent=2, ensure_ascii=not utf8, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(of) for key, of in value.items()}
    return [_finite(of) for of in value] if isinstance(value, list | tuple) else value


def print_recommendations(frame: pl.DataFrame, user: Any) -> None:
    """Print the recommendations of one user."""
    print_items(frame, f"recommended to user {user}")


def print_items(frame: pl.DataFrame, title: str) -> None:
    """Print a list of items: rank, item, score and the display columns, cut to the width.

    The frame's columns are the query, item, rank, score and the display columns, in this order.
    """
    console = new_console()
    lines = [
        [Text(str(rank)), _text(item), Text(f"{score:.3f}"), *map(_text, shown)]
        for _, item, rank, score, *shown in frame.iter_rows()
    ]
    columns = ["rank", frame.columns[1], "score", *frame.columns[4:]]
    heads = [Text(name) for name in columns]
    fixed = 3
    for head in heads[fixed:]:
        head.truncate(_HEAD_WIDTH, overflow="ellipsis")
    widths = [max(cell.cell_len for cell in column) for column in zip(heads, *lines, strict=True)]
    room = console.width - sum(widths[:fixed]) - BETWEEN * len(columns)
    widths[fixed:] = _shared(widths[fixed:], room)
    table = new_table()
    for place, (head, width) in enumerate(zip(heads, widths, strict=True)):
        head.truncate(width, overflow="ellipsis")
        table.add_column(head, justify="right" if place < fixed else "left", no_wrap=True)
    for cells in lines:
        for cell, width in zip(cells, widths, strict=True):
            cell.truncate(width, overflow="ellipsis")
        table.add_row(*cells)
    console.print(title, markup=False)
    console.print(table)


def item_names(frame: pl.DataFrame) -> list[str]:
    """Return the first non-empty display column of each item, or its id."""
    return [
        next((text for value in (*shown, item) if (text := _text(value).plain.strip())), "")
        for _, item, _, _, *shown in frame.iter_rows()
    ]


def recommendations_json(frame: pl.DataFrame, user: Any) -> dict[str, Any]:
    """Return the recommendations of one user for ``--json``."""
    return {"user_id": frame.item(0, 0) if frame.height else user, "items": _items(frame)}


def given_json(
    frame: pl.DataFrame, given: Sequence[Any], features: Mapping[str, Any], user: Any = None
) -> dict[str, Any]:
    """Return the recommendations for a user described by items or features, for ``--json``."""
    named = {} if user is None else {"user_id": frame.item(0, 0) if frame.height else user}
    described = {"features": dict(features)} if features else {}
    return {**named, "given": list(given), **described, "items": _items(frame)}


def similar_json(frame: pl.DataFrame) -> dict[str, Any]:
    """Return the items similar to one item for ``--json``; the frame has at least one row."""
    return {"item_id": frame.item(0, 0), "items": _items(frame)}


def one_or_all(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the only answer, or several as one object, for ``--json``."""
    return answers[0] if len(answers) == 1 else {"answers": list(answers)}


def _items(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return a list of items for JSON: ``item_id``, ``rank``, ``score`` and the display columns.

    A display column that is called ``item_id`` itself is renamed with the prefix ``item_``.
    """
    from twotower.recommender.catalogue_view import free_name  # noqa: PLC0415  (brings Polars)

    names = ["item_id", "rank", "score"]
    for name in frame.columns[4:]:
        names.append(free_name(name, names, "item_"))
    return [dict(zip(names, row[1:], strict=True)) for row in frame.iter_rows()]


def new_console() -> Console:
    """Return a console for stdout, as wide as the terminal; wide if there is no terminal."""
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns
    return _Results(file=sys.stdout, width=width, highlight=False)


def new_table(*names: str) -> Table:
    """Return an empty table, its first column on the left and the others on the right."""
    # One cell of padding, and one of the box: BETWEEN.
    lines = box.SIMPLE_HEAD if sys.stdout.isatty() else _DASHES
    table = Table(box=lines, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(Text(name), justify="right" if place else "left")
    return table


def _shared(widths: Sequence[int], room: int) -> list[int]:
    """Divide the width among columns: narrow ones get their width, wide ones share the rest equally."""
    given = list(widths)
    left, columns = max(room, 0), sorted(range(len(widths)), key=widths.__getitem__)
    for done, column in enumerate(columns):
        given[column] = max(min(widths[column], left // (len(columns) - done)), 4)
        left = max(left - given[column], 0)
    return given


def _text(value: Any) -> Text:
    """Return a cell of plain text: no markup, no control characters, lists with commas."""
    if value is None:
        return Text("")
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    plain = ", ".join(map(str, value)) if listed else str(value)
    return Text("".join(c if c.isprintable() else " " for c in plain))
