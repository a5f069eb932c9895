"""``twotower tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import (
    AddressOption,
    ConfigArgument,
    EngineOption,
    JsonOption,
    SetOption,
    TrackOption,
    WorkersOption,
    engine_of,
    number,
    whole,
)


@guarded
def tune(
    config: ConfigArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="New folder for the trials and the result.")
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            parser=whole,
            metavar="N",
            help="Maximum number of trials. Default: 50; no limit with --minutes.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", parser=number, metavar="X", help="Maximum minutes of trials, without the final test."
        ),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option("--space", metavar="FILE", help="TOML file with the search space; see --show-space."),
    ] = None,
    settings: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the tuning in DIR; its budget so far counts.")
    ] = False,
    show_space: Annotated[
        bool, typer.Option("--show-space", help="Print the search space as TOML and exit.")
    ] = False,
    track: TrackOption = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for a better config on the validation set, and test it once.

    DIR then contains best.toml, for `twotower train`, and history.svg. Ctrl-C keeps the best so far.
    """
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.cli.tuned import print_tuned  # noqa: PLC0415
    from twotower.config import load_config  # noqa: PLC0415
    from twotower.errors import ConfigError  # noqa: PLC0415

    settled = load_config(config, settings or ())
    from twotower.cli.tuning_progress import tuning_progress  # noqa: PLC0415
    from twotower.workflows import tuning  # noqa: PLC0415  (torch: only once the config is right)
    from twotower.workflows.tracking import make_tracking  # noqa: PLC0415

    searched = tuning.read_space(space, settled) if space is not None else None
    if show_space:
        print(tuning.space_of(settled, searched).dump(), end="")
        return
    if out is None:
        raise ConfigError("tune needs --out DIR: a new folder for the trials and the result")
    tracking, place = make_tracking(track or (), log), engine_of(engine, address, workers)
    with tuning_progress() as (watcher, callbacks):
        result = tuning.tune(
            settled,
            out,
            trials=trials,
            minutes=minutes,
            space=searched,
            resume=resume,
            watcher=watcher,
            callbacks=callbacks,
            tracking=tracking,
            engine=place,
            log=log,
        )
    if as_json:
        print_json({"tune": str(out), **result})
    else:
        print_tuned(result)
        log(f"saved in {out}: best.toml, history.svg, tune.json and the tested runs")
