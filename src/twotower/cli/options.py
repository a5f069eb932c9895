"""Arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A TOML file, or a recipe by name, such as kuairec-sample.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one setting; may be given again."),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="KIND[=ADDRESS]",
        help="Also log to mlflow or tensorboard, by default into mlflow.db or the folder tensorboard here; "
        "may be given again.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")
]
