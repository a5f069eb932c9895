"""``twotower events``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption
from twotower.core.wording import count_of
from twotower.errors import ConfigError

if TYPE_CHECKING:
    from twotower.workflows import Run


@guarded
def events(
    action: Annotated[str, typer.Argument(metavar="export", help="What to do: export.")],
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="The event store: a SQLite file, or redis://HOST:PORT/DB.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .parquet file.")],
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Run whose column names and types of ids are used. Default: RUN of a store RUN.events.db.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only events from a time on (2026-11-01, 2026-11-01T12:00:00Z; UTC if no zone is given), or "
            "only those that a run was not trained on (RUN).",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the events of a store as a table of interactions. The server can keep running.

    A model that is trained on the table knows which events it has, so a server does not count them again.
    """
    import asyncio  # noqa: PLC0415

    from twotower import workflows  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.recommender.bundle import read_facts  # noqa: PLC0415
    from twotower.recommender.trained_up_to import TrainedUpTo  # noqa: PLC0415
    from twotower.server.exporting import exported  # noqa: PLC0415
    from twotower.server.offline_store import store_at  # noqa: PLC0415
    from twotower.workflows.event_table import check_event_file  # noqa: PLC0415

    if action != "export":
        raise typer.BadParameter(f"the first argument must be export, got {action!r}")
    check_event_file(out)
    opened = store_at(store)
    finished = run_of(store, run)
    after, begin = None, float("-inf")
    if since is not None:
        if (Path(since) / "metrics.json").exists():
            after = TrainedUpTo.of(read_facts(workflows.Run.finished(since).bundle))
        else:
            begin = moment(since)
    model = finished.recommender(index=False)
    table = asyncio.run(exported(opened, model, after=after, since=begin))
    table.write(out)
    if as_json:
        rows = table.interactions.height
        print_json({"out": str(out), "rows": rows, "mark": table.mark.state, "notes": list(table.notes)})
        return
    for note in table.notes:
        log(f"note: {note}")
    wrote = count_of(table.interactions.height, "interaction")
    log(f"wrote {wrote} to {out}, with the columns of {finished.path}")


def run_of(store: str, run: Path | None) -> Run:
    """Return the run of a store: as given, or the one that it lies beside.

    Raises:
        ConfigError: the store's name doesn't tell, or the run is not finished.
    """
    from twotower.workflows import Run  # noqa: PLC0415

    beside = ".events.db"
    if run is None:
        if "://" in store or not store.endswith(beside):
            raise ConfigError(
                f"--run RUN must name the run whose columns are used, unless the store is RUN{beside}, got "
                f"{store!r}"
            )
        run = Path(store.removesuffix(beside)).expanduser()
    return Run.finished(run)


def moment(text: str) -> float:
    """Return the seconds since 1970 of a date or a time, in UTC if it names no zone.

    Raises:
        ConfigError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--since must be a date, a time such as 2026-11-01T12:00:00Z, or a finished run, got {text!r}"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
