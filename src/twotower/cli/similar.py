"""``twotower similar``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument, whole


@guarded
def similar(
    run: RunArgument,
    item: Annotated[str, typer.Option("--item", metavar="ID", help="To this item.")],
    k: Annotated[int, typer.Option("-k", parser=whole, metavar="N", help="How many items.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """List the items most like an item, by the cosine of their vectors."""
    from twotower import experiment  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415

    frame = experiment.Run.finished(run).recommender().similar([item], k)
    if as_json:
        output.print_json(output.similar_json(frame))
    else:
        output.print_items(frame, f"similar to item {item}")
