"""``twotower compare``."""

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
    WorkersOption,
    engine_of,
    typed_config,
    whole,
)


@guarded
def compare(
    config: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CONFIG",
            help="A finished run, compared as it was trained; or a config or recipe, which is trained first.",
        ),
    ],
    settings: SetOption = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            parser=whole,
            metavar="N",
            help="With CONFIG: train N models, compare the mean of their results, and report their spread.",
        ),
    ] = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare a model with every baseline on one split, with paired intervals.

    Baselines are tuned on the validation set. A run keeps the tuned settings, so nothing is tuned twice.
    """
    from twotower.cli import endings  # noqa: PLC0415
    from twotower.cli.measures import print_comparison  # noqa: PLC0415
    from twotower.cli.notes import Notes  # noqa: PLC0415
    from twotower.cli.output import new_console, print_json  # noqa: PLC0415
    from twotower.cli.progress import training_progress  # noqa: PLC0415
    from twotower.cli.screen import print_screen  # noqa: PLC0415
    from twotower.config import load_config, recipes  # noqa: PLC0415
    from twotower.errors import ConfigError  # noqa: PLC0415

    log, run, place = Notes(full=full or as_json), None, engine_of(engine, address, workers)
    if config not in recipes() and (Path(config).expanduser() / "config.toml").is_file():
        run = Path(config).expanduser()
        if settings or seeds is not None:
            raise ConfigError(
                f"{run} is a run, which is compared as it was trained; leave out --set and --seeds, or name "
                f"its config, {run / 'config.toml'}, to train again"
            )
        from twotower import workflows  # noqa: PLC0415

        settled, found = workflows.compare_run(run, engine=place, log=log)
        comparison = found.as_dict()
    else:
        settled = load_config(config, settings or ())
        from twotower import workflows  # noqa: PLC0415

        with training_progress() as callbacks:
            found = workflows.compare(settled, seeds=seeds or 1, callbacks=callbacks, engine=place, log=log)
        comparison = found.as_dict()
    if as_json:
        print_json(comparison)
        return
    if full:
        print_comparison(comparison)
    screen = endings.compared(settled, comparison, typed_config(config, settings), run, full=full)
    print_screen(new_console(), screen)
