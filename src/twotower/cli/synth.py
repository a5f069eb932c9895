"""``twotower synth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, number, whole
from twotower.errors import ConfigError, nearest


@guarded
def synth(
    name: Annotated[str, typer.Argument(metavar="NAME", help="kuairec.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory for the seven CSV files.")],
    scale: Annotated[
        float,
        typer.Option(
            "--scale", parser=number, metavar="X", help="1.0 is the size of KuaiRec: 17 M rows, 1.5 GB."
        ),
    ] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", parser=whole, metavar="N", help="The same seed gives the same bytes.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write a synthetic KuaiRec: the real files' schema, quirks and statistics, with invented content."""
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.cli.progress import counting  # noqa: PLC0415
    from twotower.datasets.synthetic import write_kuairec  # noqa: PLC0415

    if name != "kuairec":
        raise ConfigError(f"only 'kuairec' can be synthesised, got {name!r}.{nearest(name, ['kuairec'])}")
    with counting("synth") as counter:
        rows = write_kuairec(
            directory, scale=scale, seed=seed, progress=lambda name, share: counter.show(share, 1.0, name)
        )
    if as_json:
        print_json({"directory": str(directory), "rows": rows})
    else:
        for file, count in rows.items():
            print(f"{count:>12,}  {directory / file}")
    log(f"use it with `--set data.dir={directory}` on the recipe kuairec")
