"""``twotower forget``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument
from twotower.core.wording import count_of


@guarded
def forget(
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="The event store: a SQLite file, or redis://HOST:PORT/DB.")
    ],
    run: RunArgument,
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Id of the user.")],
    as_json: JsonOption = False,
) -> None:
    """Delete a user from the event store and from a run: events, history, vector.

    A record without the id stays in both. A server of the store leaves the user out within a second. The
    files that the run was trained from are not changed.
    """
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.recommender.bundle import read_facts  # noqa: PLC0415
    from twotower.recommender.trained_up_to import TrainedUpTo  # noqa: PLC0415
    from twotower.server.offline_store import forgotten, store_at  # noqa: PLC0415
    from twotower.workflows.forgetting import forget_users  # noqa: PLC0415

    finished, opened = workflows.Run.finished(run), store_at(store)
    name = str(finished.recommender(index=False).users.native(user))
    mark = TrainedUpTo.of(read_facts(finished.bundle))
    events, erasures = asyncio.run(forgotten(opened, name, mark))
    done = forget_users(finished, erasures)
    if as_json:
        print_json({"events": events, "users": done.users, "files": list(done.files)})
        return
    deleted = count_of(events, "event")
    log(f"{deleted} deleted from the store; record {erasures.last} has a keyed hash of the id")
    if not (events or done.users):
        log(f"note: neither the store nor the run had the user {name!r} (any more); check the id")
    changed = ", ".join(done.files) or "nothing: it did not have the user"
    log(f"changed in {finished.path}: {changed}")
    log("the files that the run was trained from may still have the user; delete the user there too")
