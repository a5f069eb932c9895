"""``twotower recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument


@guarded
def recommend(
    run: RunArgument,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="For this user.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="For every user, into the file --out.")] = False,
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="With --all: a .parquet or .csv file.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items that the user has interacted with in train.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend the items of highest score, found exactly over the whole catalogue."""
    if everyone == (user is not None):
        raise typer.BadParameter("give either --user ID or --all")
    if everyone == (out is None):
        raise typer.BadParameter("--all and --out FILE go together")
    from twotower import experiment  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.cli.progress import counting  # noqa: PLC0415

    recommender = experiment.Run.finished(run).recommender()
    if out is not None:
        with counting("users") as counter:
            rows = experiment.recommend_all(
                recommender, out, k, exclude_seen=not include_seen, progress=counter.show
            )
        if as_json:
            output.print_json({"out": str(out), "rows": rows})
        else:
            output.log(f"wrote {rows:,} rows to {out}")
        return
    frame = recommender.recommend([user], k, exclude_seen=not include_seen)
    if as_json:
        output.print_json(output.recommendations_json(frame, user))
    else:
        output.print_recommendations(frame, user)
