"""``twotower index``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument, number, whole


@guarded
def index(
    run: RunArgument,
    recall: Annotated[
        float,
        typer.Option(
            "--recall",
            parser=number,
            metavar="SHARE",
            help="Share of a user's exact top k that must be found, on average.",
        ),
    ] = 0.98,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only this kind: hnsw, ivf, ivfpq, exact or milvus; can be repeated. Default: the "
            "quickest of the first four.",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            parser=whole,
            metavar="N",
            help="How many items will be requested; default: 100, or all if fewer.",
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            "--threads",
            parser=whole,
            metavar="N",
            help="Threads for building; with more than one, HNSW is not reproducible.",
        ),
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Find the fastest index that reaches a recall, and save it in the run.

    Prints recall against exact search, query time, build time and memory.
    """
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.cli.measures import point_line, print_curve  # noqa: PLC0415

    found = workflows.build_index(
        run,
        recall=recall,
        kinds=tuple(kinds or ()),
        k=k,
        threads=threads,
        told=lambda point: output.log(point_line(point)),
        log=output.log,
    ).as_dict()
    if as_json:
        output.print_json(found)
    else:
        print_curve(found)
