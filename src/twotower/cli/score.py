"""``twotower score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument


@guarded
def score(
    run: RunArgument,
    pairs: Annotated[
        Path, typer.Option("--pairs", metavar="FILE", help="A CSV or Parquet table with the two id columns.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .parquet or .csv file.")],
    as_json: JsonOption = False,
) -> None:
    """Predict the label of (user, item) pairs: the table with a column `prediction` added."""
    from twotower import experiment  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415

    rows = experiment.score_file(experiment.Run.finished(run).recommender(), pairs, out)
    if as_json:
        print_json({"out": str(out), "rows": rows})
    else:
        log(f"wrote {rows:,} rows to {out}")
