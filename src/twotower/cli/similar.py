"""``twotower similar``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import (
    AllowOption,
    DenyOption,
    JsonOption,
    KOption,
    RunArgument,
    StrictOption,
    candidates,
)


@guarded
def similar(
    run: RunArgument,
    items: Annotated[list[str], typer.Option("--item", metavar="ID", help="To this item; can be repeated.")],
    k: KOption = None,
    allow: AllowOption = None,
    deny: DenyOption = None,
    strict: StrictOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the items most similar to an item, or to each of several, by the cosine of their vectors."""
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415

    recommender = workflows.Run.finished(run).recommender()
    filters = candidates(recommender, allow, deny, strict=strict)
    answers = {item: recommender.similar_items(item, k, **filters) for item in dict.fromkeys(items)}
    if as_json:
        output.print_json(output.one_or_all([output.similar_json(frame) for frame in answers.values()]))
    else:
        for item, frame in answers.items():
            output.print_items(frame, f"similar to item {item}")
