"""``twotower recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument, whole

if TYPE_CHECKING:
    import polars as pl


@guarded
def recommend(
    run: RunArgument,
    user: Annotated[str | None, typer.Option("--user", metavar="ID", help="For this user.")] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ID", help="For someone new who liked this; may be given again."),
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="For every user, into the file --out.")] = False,
    k: Annotated[int, typer.Option("-k", parser=whole, metavar="N", help="How many items.")] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="With --all: a .parquet or .csv file.")
    ] = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also items that the user has interacted with in train.")
    ] = False,
    allow: Annotated[
        Path | None,
        typer.Option("--allow", metavar="FILE", help="Only items in this .csv or .parquet."),
    ] = None,
    deny: Annotated[
        Path | None, typer.Option("--deny", metavar="FILE", help="No items in this .csv or .parquet.")
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score every item, though the run has an index.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Recommend the items of highest score: to a user, to someone new, or to every user into a file.

    Every item is scored, unless `twotower index` has given the run an index.
    """
    if [everyone, user is not None, bool(items)].count(True) != 1:
        raise typer.BadParameter("give either --user ID, --item ID or --all")
    if everyone == (out is None):
        raise typer.BadParameter("--all and --out FILE go together")
    if items and include_seen:
        raise typer.BadParameter("--include-seen is for --user and --all; what --item names is never given")
    from twotower import experiment  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.cli.progress import counting  # noqa: PLC0415

    finished = experiment.Run.finished(run)
    recommender = finished.recommender(index=not exact)
    if recommender.index is not None:
        output.log(finished.index_note())

    def listed(path: Path | None) -> pl.Series | None:
        return None if path is None else experiment.read_items(recommender, path)

    allowed, denied = listed(allow), listed(deny)
    if out is not None:
        with counting("users") as counter:
            rows = experiment.recommend_all(
                recommender,
                out,
                k,
                exclude_seen=not include_seen,
                allow=allowed,
                deny=denied,
                progress=counter.show,
            )
        if as_json:
            output.print_json({"out": str(out), "rows": rows})
        else:
            output.log(f"wrote {rows:,} rows to {out}")
        return
    if items:
        frame = recommender.recommend_from([items], k, allow=allowed, deny=denied)
        title = f"recommended to someone new who liked {', '.join(items)}"
        found = output.given_json(frame, items)
    else:
        frame = recommender.recommend([user], k, exclude_seen=not include_seen, allow=allowed, deny=denied)
        title = f"recommended to user {user}"
        found = output.recommendations_json(frame, user)
    if as_json:
        output.print_json(found)
    else:
        output.print_items(frame, title)
