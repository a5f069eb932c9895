"""``twotower compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import ConfigArgument, FullOption, JsonOption, SetOption, typed_config, whole


@guarded
def compare(
    config: ConfigArgument,
    settings: SetOption = None,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            parser=whole,
            metavar="N",
            help="Train so many of ours: their mean by user is compared, their spread told.",
        ),
    ] = 1,
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure our model and every baseline on one split, with paired intervals."""
    from twotower.cli import endings  # noqa: PLC0415
    from twotower.cli.measures import print_comparison  # noqa: PLC0415
    from twotower.cli.notes import Notes  # noqa: PLC0415
    from twotower.cli.output import new_console, print_json  # noqa: PLC0415
    from twotower.cli.progress import training_progress  # noqa: PLC0415
    from twotower.cli.screen import print_screen  # noqa: PLC0415
    from twotower.config import load_config  # noqa: PLC0415

    settled = load_config(config, settings or ())
    from twotower import experiment  # noqa: PLC0415

    log = Notes(full=full or as_json)
    with training_progress() as callbacks:
        comparison = experiment.compare(settled, seeds=seeds, callbacks=callbacks, log=log).as_dict()
    if as_json:
        print_json(comparison)
        return
    if full:
        print_comparison(comparison)
    print_screen(new_console(), endings.compared(settled, comparison, typed_config(config, settings)))
