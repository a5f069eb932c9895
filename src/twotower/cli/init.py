"""``twotower init``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.errors import ConfigError


@guarded
def init(
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLES", help="Files of interactions, users and items; or a folder or zip with them."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing.")] = False,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The config to write; it must not be there yet.")
    ] = Path("twotower.toml"),
) -> None:
    """Look at tables, guess what their columns are, and write a commented config that trains as it is."""
    from twotower.atomic import write_text  # noqa: PLC0415
    from twotower.cli.output import log  # noqa: PLC0415
    from twotower.config import load_config  # noqa: PLC0415
    from twotower.data.guessing import draft_config  # noqa: PLC0415

    if out.exists():
        raise ConfigError(f"init writes a new file: {out} is there already; remove it, or give another --out")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {out.absolute().parent} to write {out.name} in; make it first")
    ask = None if yes or not sys.stdin.isatty() else _ask
    draft = draft_config(tables, out.absolute().parent, ask=ask)
    for remark in draft.remarks:
        log(remark)
    write_text(out, draft.text)
    load_config(str(out.absolute()))  # what we have written must be right
    print(out)
    log(f"read it through, then `twotower check {out}` and `twotower train {out} --out runs/first`")


def _ask(question: str, options: Sequence[str]) -> str:
    for number, option in enumerate(options, 1):
        typer.echo(f"  {number}  {option}", err=True)
    answer: str = typer.prompt(question, err=True)
    while answer not in options:
        if answer.isdigit() and 1 <= int(answer) <= len(options):
            return options[int(answer) - 1]
        answer = typer.prompt("one of the names or numbers above", err=True)
    return answer
