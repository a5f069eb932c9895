"""``twotower train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import (
    AddressOption,
    EngineOption,
    FullOption,
    JsonOption,
    SetOption,
    TrackOption,
    WorkersOption,
    engine_of,
    typed_config,
    whole,
)
from twotower.errors import ConfigError


@guarded
def train(
    config: Annotated[
        str | None,
        typer.Argument(
            metavar="CONFIG",
            help="A TOML file, or a recipe by name, such as kuairec-sample. Leave it out with --from.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="RUN",
            help="Directory of the run: new or empty. With --from: default is to update that run.",
            show_default=False,
        ),
    ] = None,
    settings: SetOption = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Resume the unfinished run in RUN; the result is the same as without the interruption.",
        ),
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Train linear towers alone, in closed form; the same as --set model.kind=linear.",
        ),
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            parser=whole,
            metavar="N",
            help="Train N models with different seeds on the same split, each in RUN/seed-N.",
        ),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Continue from this finished run on the events since, in a fraction of a full training.",
        ),
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events",
            metavar="STORE",
            help="With --from: the event store (a SQLite file, redis://HOST:PORT/DB), or a file that "
            "`twotower events export` wrote.",
        ),
    ] = None,
    full_gap: Annotated[
        bool,
        typer.Option(
            "--full-gap",
            help="With --from: also train from the beginning on the same data, and compare.",
        ),
    ] = False,
    track: TrackOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a model, evaluate it on the test set, and save both in RUN.

    --set 'ranker.sources=["popular","recent"]' adds a second stage with further sources of candidates.

    With --from RUN --events STORE, continue from a run on the events since. A second stage ([ranker]) keeps
    its trees then, and reads candidates and features of the continued model.
    """
    if from_ is not None or events is not None or full_gap:
        given = {"CONFIG": config, "--set": settings, "--resume": resume, "--quick": quick, "--seeds": seeds}
        given |= {"--track": track, "--engine": engine, "--address": address, "--workers": workers}
        given |= {"--full": full}
        if from_ is None or events is None:
            raise typer.BadParameter("--from RUN and --events STORE need each other")
        if unread := [name for name, value in given.items() if value]:
            raise typer.BadParameter(f"with --from, {unread[0]} has no effect; leave it out")
        from twotower.cli.continuing import continue_from  # noqa: PLC0415

        continue_from(from_, events, out, full_gap=full_gap, as_json=as_json)
        return
    if config is not None and out is None:
        raise typer.BadParameter("missing option '--out'")
    if config is None or out is None:
        raise typer.BadParameter("name a CONFIG and --out RUN, or --from RUN and --events STORE")
    from twotower.cli import endings  # noqa: PLC0415
    from twotower.cli.measures import print_evaluation, print_slices, print_spread  # noqa: PLC0415
    from twotower.cli.notes import Notes  # noqa: PLC0415
    from twotower.cli.output import new_console, print_json  # noqa: PLC0415
    from twotower.cli.progress import training_progress  # noqa: PLC0415
    from twotower.cli.screen import print_screen  # noqa: PLC0415
    from twotower.config import load_config  # noqa: PLC0415

    if quick:
        named = next((one for one in settings or () if one.split("=")[0].strip() == "model.kind"), None)
        if named is not None and named.split("=", 1)[1].strip() != "linear":
            raise ConfigError(
                f"--quick means model.kind=linear, and --set has {named}; leave one of them out"
            )
        settings = [*(settings or ()), "model.kind=linear"]
    settled = load_config(config, settings or ())
    from twotower import workflows  # noqa: PLC0415  (torch: only once the config is right)
    from twotower.workflows.tracking import make_tracking  # noqa: PLC0415

    log, place = Notes(full=full or as_json), engine_of(engine, address, workers)
    tracking = make_tracking(track or (), log)
    if seeds is not None:
        with training_progress() as callbacks:
            found = workflows.train_seeds(
                settled,
                out,
                seeds,
                resume=resume,
                callbacks=callbacks,
                tracking=tracking,
                engine=place,
                log=log,
            )
        if as_json:
            print_json({"run": str(out), **found})
            return
        if full:
            print_spread({**found["rating"], **found["ranking"]}, found["seeds"])
        print_screen(new_console(), endings.seeded(settled, found, out, typed_config(config, settings)))
        return
    with training_progress() as callbacks:
        result = workflows.train(
            settled, out, resume=resume, callbacks=callbacks, tracking=tracking, engine=place, log=log
        )
    if as_json:
        print_json({"run": str(result.run.path), **result.metrics})
        return
    if full:
        print_evaluation(result.metrics)
        print_slices(result.metrics["slices"])
    user = result.recommender.user_ids[0]
    screen = endings.trained(settled, result.metrics, result.run.path, user, full=full)
    print_screen(new_console(), screen)
