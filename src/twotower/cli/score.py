"""``twotower score``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument
from twotower.core.wording import count_of


@guarded
def score(
    run: RunArgument,
    pairs: Annotated[
        str, typer.Option("--pairs", metavar="FILE", help="A CSV or Parquet table with the two id columns.")
    ],
    out: Annotated[
        str,
        typer.Option("--out", metavar="FILE", help="A .parquet or .csv file; also at an address (s3://...)."),
    ],
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Treat an unknown user or item as an error, instead of writing null."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score (user, item) pairs: the table with `prediction` added, or `score` if the model ranks.

    A pair with an unknown user or item gets null; these pairs are counted.
    """
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.core.urls import without_secrets  # noqa: PLC0415

    finished = workflows.Run.finished(run)
    finished.check_output(out)
    done = workflows.score_file(finished.recommender(), pairs, out, strict=strict)
    if as_json:
        print_json({"out": without_secrets(out), **done.as_dict()})
    else:
        log(f"wrote {count_of(done.rows, 'row')} to {without_secrets(out)}")
