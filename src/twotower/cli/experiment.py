"""``twotower experiment``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, number, whole
from twotower.core.durations import seconds_of
from twotower.errors import ConfigError

if TYPE_CHECKING:
    from twotower.evaluation.experiment import Experiment
    from twotower.server.experiment_tables import ExperimentTables


@guarded
def experiment(
    events: Annotated[
        str,
        typer.Argument(
            metavar="EVENTS",
            help="The event store of `twotower serve`: a SQLite file, or redis://HOST:PORT/DB. Or a CSV or "
            "Parquet table with user, time and perhaps kind and value, with --exposures.",
        ),
    ],
    exposures: Annotated[
        Path | None,
        typer.Option(
            "--exposures",
            metavar="FILE",
            help="Who was answered by what: a table with user, run, time of the first list.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="RUN=SHARE,...",
            help="With --exposures: percent of the users that each run should have, such as old=90,new=10.",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="What is compared, per user: interactions, active (any at all), value (their sum) or skips.",
        ),
    ] = "interactions",
    window: Annotated[
        str,
        typer.Option(
            "--window",
            metavar="TIME",
            help="How long events count from a user's first list, such as 12h or 7d; a user counts once it "
            "is over.",
        ),
    ] = "1d",
    cap: Annotated[
        float | None,
        typer.Option("--cap", parser=number, metavar="X", help="Most that one user's outcome counts."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="RUN", help="Run to compare with.", show_default="the first one of the split"
        ),
    ] = None,
    level: Annotated[
        float, typer.Option("--level", parser=number, metavar="P", help="Confidence, at all looks together.")
    ] = 0.95,
    planned: Annotated[
        int,
        typer.Option(
            "--planned",
            parser=whole,
            metavar="N",
            help="Users at which intervals are narrowest; choose it before you look.",
        ),
    ] = 10_000,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="With --exposures: name of a column, such as user=user_id; can be repeated.",
        ),
    ] = None,
    write_exposures: Annotated[
        Path | None,
        typer.Option(
            "--write-exposures", metavar="FILE", help="Also write who was answered by what, as .parquet."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which of the models that a server splits its users among is better, however often you look.

    Intervals hold at all looks together, so you can stop as soon as one excludes 0.
    """
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.core.atomic import check_file, replacing  # noqa: PLC0415
    from twotower.evaluation.experiment import analyse  # noqa: PLC0415

    seconds = seconds_of("--window", window)
    if write_exposures is not None:
        if write_exposures.suffix.lower() != ".parquet":
            raise ConfigError(f"--write-exposures must end in .parquet, got '{write_exposures}'")
        check_file(write_exposures, "--write-exposures")
    tables = _tables(events, exposures, split, column or [])
    found = analyse(
        tables.exposures,
        tables.events,
        tables.shares,
        outcome=metric,
        window=seconds,
        now=tables.now,
        base=base,
        cap=cap,
        level=level,
        planned=planned,
    )
    if write_exposures is not None:
        with replacing(write_exposures) as temporary:
            tables.exposures.write_parquet(temporary)
    notes = [*tables.notes, *found.notes]
    if as_json:
        print_json(found.as_dict() | {"notes": notes})
        return
    for note in notes:
        log(f"note: {note}")
    _print(found)


def _tables(events: str, exposures: Path | None, split: str | None, columns: list[str]) -> ExperimentTables:
    import asyncio  # noqa: PLC0415

    from twotower.server.experiment_tables import ExperimentTables, experiment_tables  # noqa: PLC0415
    from twotower.server.offline_store import is_store, store_at  # noqa: PLC0415
    from twotower.workflows.experiment_files import (  # noqa: PLC0415
        column_names,
        read_events,
        read_exposures,
    )

    if is_store(events):
        if exposures is not None or split is not None or columns:
            raise ConfigError(
                "--exposures, --split and --column are for tables; an event store has exposures and split of "
                "its own, so leave them out"
            )
        return asyncio.run(experiment_tables(store_at(events)))
    if exposures is None or split is None:
        raise ConfigError(
            f"{events} is not an event store; a table of events also needs --exposures FILE and --split "
            "RUN=SHARE,RUN=SHARE"
        )
    names, shares = column_names(columns), _shares(split)
    exposed, happened = read_exposures(exposures, names), read_events(events, names)
    now = max(float(frame["time"].max() or 0.0) for frame in (exposed, happened))  # type: ignore[arg-type]
    note = "events are taken as known until the last time in the tables"
    return ExperimentTables(exposed, happened, shares, now, (note,))


def _shares(split: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in split.split(","):
        run, equals, share = part.strip().rpartition("=")
        try:
            percent = float(share)
        except ValueError:
            equals, percent = "", 0.0
        if not (run and equals and 0.0 <= percent <= 100.0) or run in shares:
            raise ConfigError(
                "--split must be RUN=SHARE,RUN=SHARE such as old=90,new=10, each run once, shares from 0 to "
                f"100; got {split!r}"
            )
        shares[run] = percent
    if sum(shares.values()) > 100.0 + 1e-6:
        raise ConfigError(
            f"the shares of --split are percent of all users, 100 at most, got {sum(shares.values()):g} "
            f"({split!r}); correct them"
        )
    return shares


def _print(found: Experiment) -> None:
    from twotower.cli.measures import bounds  # noqa: PLC0415
    from twotower.cli.output import new_console, new_table  # noqa: PLC0415
    from twotower.evaluation.experiment import OUTCOMES  # noqa: PLC0415

    console = new_console()
    title = OUTCOMES[found.outcome]
    table = new_table("run", "share", "answered", "counted", title, "difference", f"{found.level:.0%}", "p")
    for group in found.groups:
        one = found.differences.get(group.run)
        less = ["", "", ""]
        if one is not None and math.isfinite(one.value.value):
            less = [f"{one.value:+.4f}", bounds(one.value.as_dict(), "+.4f"), f"{one.p:.3g}"]
        counts = (f"{group.exposed:,}", f"{group.users:,}")
        table.add_row(
            group.run, f"{group.share:g}%", *counts, f"{group.mean:.4f}" if group.users else "", *less
        )
    console.print(table)
    for run in found.differences:
        console.print(found.verdict(run), markup=False)
