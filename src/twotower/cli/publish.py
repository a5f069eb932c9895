"""``twotower publish``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument, whole


@guarded
def publish(
    run: RunArgument,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="milvus://HOST[:PORT]/COLLECTION[?db=NAME&tls=yes], or milvus:FILE.db for milvus-lite. "
            "The token comes from TWOTOWER_MILVUS_TOKEN or TWOTOWER_MILVUS_TOKEN_FILE.",
        ),
    ],
    keep: Annotated[
        int,
        typer.Option(
            "--keep",
            parser=whole,
            metavar="N",
            help="Versions that stay, this one among them; older ones go.",
        ),
    ] = 2,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=N",
            help="A parameter of the search structure, such as nlist=1024; can be repeated. Default: chosen.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the items of a run to a vector database: vectors, ids, and columns for filters.

    They are a new version, which is served at once when it is complete. Prints counts.
    """
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.core.wording import count_of  # noqa: PLC0415

    parameters = {}
    for setting in settings or ():
        name, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise typer.BadParameter(f"--set takes NAME=N, got {setting!r}; write for example nlist=1024")
        parameters[name] = whole(value)
    found = workflows.publish(run, address, keep=keep, parameters=parameters, log=output.log)
    if as_json:
        output.print_json(asdict(found))
        return
    structure = ", ".join(f"{name}={value}" for name, value in found.parameters.items())
    if found.written:
        rate = found.items / max(found.seconds, 1e-3)
        output.say(
            f"published {count_of(found.items, 'item')} and {count_of(len(found.columns), 'column')} in "
            f"{found.seconds:.1f} s, {rate:,.0f} items/s ({structure})"
        )
    else:
        output.say(f"{count_of(found.items, 'item')} of this version were published before ({structure})")
    for name, reason in found.left_out.items():
        output.say(f"column {name!r} is not published: it {reason}; filters on it are applied by the server")
    before = f", before it {found.previous}" if found.previous not in (None, found.version) else ""
    output.say(f"current version of {found.address}: {found.version}{before}")
    if found.removed:
        output.say(
            f"removed {count_of(len(found.removed), 'earlier collection')}: {', '.join(found.removed)}"
        )
