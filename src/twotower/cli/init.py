"""``twotower init``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.errors import ConfigError


@guarded
def init(
    tables: Annotated[
        list[str],
        typer.Argument(
            metavar="TABLES",
            help="Files of interactions, users and items; or a folder or zip with them. They may be at "
            "addresses, such as s3://bucket/events.",
        ),
    ],
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Ask nothing: write a config that ranks, and stop if a column can't be guessed."
        ),
    ] = False,
    predict: Annotated[
        bool, typer.Option("--predict", help="Predict the label; without it the config ranks items.")
    ] = False,
    user: Annotated[str | None, typer.Option("--user", metavar="COLUMN", help="Column of user ids.")] = None,
    item: Annotated[str | None, typer.Option("--item", metavar="COLUMN", help="Column of item ids.")] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="Column of ratings or other labels, or 'none'."),
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option("--timestamp", metavar="COLUMN", help="Column of times, or 'none'.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The config to write; it must not exist yet.")
    ] = Path("twotower.toml"),
) -> None:
    """Look at tables, guess what their columns mean, and write a commented config that is ready to train."""
    from twotower.audit.guessing import Told, draft_config  # noqa: PLC0415
    from twotower.cli.output import log  # noqa: PLC0415
    from twotower.core.atomic import check_file, write_text  # noqa: PLC0415

    if out.exists():
        raise ConfigError(f"init writes a new file: {out} exists already; delete it or choose another --out")
    folder = out.absolute().parent
    check_file(out)
    ask = None if yes or not sys.stdin.isatty() else _ask
    told = Told(user, item, label, timestamp, predict or None)
    draft = draft_config(tables, folder, told=told, ask=ask)
    for remark in draft.remarks:
        log(remark)
    _try(draft.text, folder)
    write_text(out, draft.text)
    print(out)
    log(f"check the config, then `twotower check {out}` and `twotower train {out} --out runs/{out.stem}`")


def _try(text: str, folder: Path) -> None:
    """Read and split the data as `train` does, so that only a config that works is written."""
    from twotower.config import load_config  # noqa: PLC0415
    from twotower.workflows import check_positives, load_parts  # noqa: PLC0415

    with tempfile.NamedTemporaryFile("w", suffix=".toml", dir=folder, encoding="utf-8") as draft:
        draft.write(text)
        draft.flush()
        config = load_config(draft.name)
    check_positives(config, load_parts(config))


def _ask(question: str, options: Sequence[str]) -> str:
    for number, option in enumerate(options, 1):
        typer.echo(f"  {number}  {option}", err=True)
    answer: str = typer.prompt(question, err=True)
    while answer not in options:
        if answer.isdigit() and 1 <= int(answer) <= len(options):
            return options[int(answer) - 1]
        answer = typer.prompt("one of the names or numbers above", err=True)
    return answer
