"""``twotower train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import ConfigArgument, JsonOption, SetOption, TrackOption, whole


@guarded
def train(
    config: ConfigArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="RUN", help="The run directory: a new one, or empty.")
    ],
    settings: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished run in RUN, to the same bits.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            parser=whole,
            metavar="N",
            help="Train so many, each in RUN/seed-N: one split, other weights and batches.",
        ),
    ] = None,
    track: TrackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model, evaluate it on the test part, and save both in RUN."""
    from twotower.cli.measures import print_evaluation, print_spread  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.cli.progress import training_progress  # noqa: PLC0415
    from twotower.config import load_config  # noqa: PLC0415

    settled = load_config(config, settings or ())
    from twotower import experiment  # noqa: PLC0415  (torch: only once the config is right)
    from twotower.tracking import make_tracking  # noqa: PLC0415

    tracking = make_tracking(track or (), log)
    if seeds is not None:
        with training_progress() as callbacks:
            found = experiment.train_seeds(
                settled, out, seeds, resume=resume, callbacks=callbacks, tracking=tracking, log=log
            )
        if as_json:
            print_json({"run": str(out), **found})
        else:
            print_spread({**found["rating"], **found["ranking"]}, found["seeds"])
            log(f"saved in {out}, a run for each seed; try `twotower compare CONFIG --seeds {seeds}`")
        return
    with training_progress() as callbacks:
        result = experiment.train(
            settled, out, resume=resume, callbacks=callbacks, tracking=tracking, log=log
        )
    if as_json:
        print_json({"run": str(result.run.path), **result.metrics})
    else:
        print_evaluation(result.metrics)
        path = result.run.path
        if settled.objective.implicit:
            log(f"saved in {path}; try `twotower recommend {path} --user ID`")
        else:
            log(
                f"saved in {path}; it predicts the label: try `twotower score {path} --pairs FILE --out FILE`"
                ". To recommend, train with objective.name = 'all_pairs'"
            )
