"""``twotower fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption


@guarded
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="kuairec, movielens-100k, movielens-1m, ...")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Directory to save in; default: data/NAME.")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Check and copy a file downloaded by hand.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a public data set, and verify its checksum; an interrupted download is resumed."""
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.cli.progress import counting  # noqa: PLC0415
    from twotower.datasets import download  # noqa: PLC0415

    with counting(name) as counter:
        path = download.fetch(name, out or Path("data") / name, from_file=from_file, progress=counter.show)
    log(f"licence: {download.ARCHIVES[name].licence}")
    if as_json:
        print_json({"path": str(path)})
    else:
        print(path)
