"""What a command prints: results to stdout as tables or JSON, everything else to stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    import polars as pl

_PIPED_WIDTH = 160
"""Columns of a table that goes to a file or a pipe, unless COLUMNS says otherwise."""

_HEAD_WIDTH = 14
"""Cells that the name of a display column may take when its content is narrower."""
_BETWEEN = 2
"""Cells between two columns of a table."""

_NAMES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
    "xauc": "XAUC",
    "xauc_by_user": "XAUC by user",
    "mae_capped": "MAE, capped",
    "rmse_capped": "RMSE, capped",
    "r2_capped": "R2, capped",
}

Interval = Mapping[str, float | None]


def log(line: str) -> None:
    """Print a line to stderr."""
    print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print one JSON object to stdout."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=2, ensure_ascii=not utf8, allow_nan=False))


def print_metrics(metrics: Mapping[str, Interval], rows: int) -> None:
    """Print the metrics of one model, each with its interval."""
    table = _table("metric", "value", "95% interval")
    for name, interval in metrics.items():
        table.add_row(_NAMES.get(name, name), _number(interval["value"], ".4f"), _bounds(interval, ".4f"))
    console = _console()
    console.print(f"test part, {rows:,} rows")
    console.print(table)


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print models beside each other, each metric with its interval, and then the differences from ours."""
    console, against = _console(), comparison["against"]
    console.print(f"test part, {comparison['rows']:,} rows; value and 95% interval over users")
    _print_beside(console, {name: model["metrics"] for name, model in comparison["models"].items()})
    console.print(f"minus {against}, and 95% interval of the difference (same resampled users)")
    _print_beside(console, comparison["differences"], sign="+")


def print_recommendations(frame: pl.DataFrame, user: Any) -> None:
    """Print the recommendations of one user."""
    print_items(frame, f"recommended to user {user}")


def print_items(frame: pl.DataFrame, title: str) -> None:
    """Print a list of items: rank, item, score and the display columns, cut to the width.

    The frame's columns are what was asked for, item, rank, score and the display columns, in this order.
    """
    console = _console()
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
    room = console.width - sum(widths[:fixed]) - _BETWEEN * len(columns)
    widths[fixed:] = _shared(widths[fixed:], room)
    table = _table()
    for place, (head, width) in enumerate(zip(heads, widths, strict=True)):
        head.truncate(width, overflow="ellipsis")
        table.add_column(head, justify="right" if place < fixed else "left", no_wrap=True)
    for cells in lines:
        for cell, width in zip(cells, widths, strict=True):
            cell.truncate(width, overflow="ellipsis")
        table.add_row(*cells)
    console.print(title, markup=False)
    console.print(table)


def recommendations_json(frame: pl.DataFrame, user: Any) -> dict[str, Any]:
    """Return the recommendations of one user for ``--json``."""
    item = frame.columns[1]
    renamed = frame.drop(frame.columns[0]).rename({item: "item_id"} if item != "item_id" else {})
    asked = frame.item(0, 0) if frame.height else user
    return {"user_id": asked, "items": renamed.to_dicts()}


def similar_json(frame: pl.DataFrame) -> dict[str, Any]:
    """Return the items similar to one item for ``--json``; the frame has at least one row."""
    asked, found = frame.columns[:2]
    items = frame.drop(asked).rename({found: "item_id"} if found != "item_id" else {})
    return {"item_id": frame.item(0, 0), "items": items.to_dicts()}


def _print_beside(console: Console, models: Mapping[str, Mapping[str, Interval]], sign: str = "") -> None:
    """Print models as columns, as many beside each other as the width holds."""
    names = list(next(iter(models.values()), {}))
    metrics = [_NAMES.get(name, name) for name in names]
    columns = {
        model: [
            f"{_number(values[name]['value'], sign + '.4f')}\n{_bounds(values[name], sign + '.3f')}"
            for name in names
        ]
        for model, values in models.items()
    }
    while columns:
        room = console.width - _widest(["metric", *metrics]) - _BETWEEN
        shown: list[str] = []
        for model, cells in columns.items():
            room -= _widest([model, *cells]) + _BETWEEN
            if shown and room < 0:
                break
            shown.append(model)
        table = _table("metric", *shown)
        for row in zip(metrics, *(columns.pop(model) for model in shown), strict=True):
            table.add_row(*row)
        console.print(table)


def _widest(cells: Sequence[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n"))


def _console() -> Console:
    width = None if sys.stdout.isatty() else shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns
    return Console(file=sys.stdout, width=width, highlight=False)


def _table(*names: str) -> Table:
    # One cell of padding, and one of the box: _BETWEEN.
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), pad_edge=False)
    for place, name in enumerate(names):
        table.add_column(Text(name), justify="right" if place else "left")
    return table


def _shared(widths: Sequence[int], room: int) -> list[int]:
    """Share the room among columns: a narrow one gets its width, wide ones equal parts of the rest."""
    given = list(widths)
    left, columns = max(room, 0), sorted(range(len(widths)), key=widths.__getitem__)
    for done, column in enumerate(columns):
        given[column] = max(min(widths[column], left // (len(columns) - done)), 4)
        left = max(left - given[column], 0)
    return given


def _text(value: Any) -> Text:
    """Return a cell that is shown as it stands: no markup, no control characters, lists with commas."""
    if value is None:
        return Text("")
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    plain = ", ".join(map(str, value)) if listed else str(value)
    return Text("".join(c if c.isprintable() else " " for c in plain))


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)


def _bounds(interval: Interval, form: str) -> str:
    low, high = interval["low"], interval["high"]
    return "" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"
