"""``twotower evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.off_policy import evaluate_log
from twotower.cli.options import (
    AddressOption,
    EngineOption,
    FullOption,
    JsonOption,
    KOption,
    RunArgument,
    WorkersOption,
    engine_of,
    number,
)


@guarded
def evaluate(
    run: RunArgument,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    full: FullOption = False,
    logged: Annotated[
        str | None,
        typer.Option(
            "--logged",
            metavar="FILE",
            help="Estimate instead what the model would have earned on rows that another policy logged: a "
            "CSV or Parquet table with the two id columns, reward and propensity (the probability with which "
            "the item was shown).",
        ),
    ] = None,
    k: KOption = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature",
            parser=number,
            metavar="T",
            help="With --logged: show one item drawn by a softmax of the scores, instead of one item of the "
            "list of -k. In standard deviations of the user's scores: 0.1 is narrow, 1 is broad.",
        ),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            "--clip",
            parser=number,
            metavar="W",
            help="With --logged: where the clipped estimates cut weights off.",
            show_default="the square root of the number of rows",
        ),
    ] = None,
    exclude_seen: Annotated[
        bool | None,
        typer.Option(
            "--exclude-seen/--include-seen",
            help="With --logged: leave out, or not, what a user has in the training set.",
            show_default="as the run's evaluation.exclude_seen",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the model of a run on its test set: predicted labels and rankings, with intervals.

    A run with [ranker] is measured in both stages, with the recall of the candidates of each source.

    With --logged, estimate from a log how it would do online (off-policy evaluation).
    """
    if logged is not None:
        if full or engine is not None or address is not None or workers is not None:
            raise typer.BadParameter("--logged can't be combined with --full or --engine; leave these out")
        evaluate_log(
            run,
            logged,
            k=k,
            temperature=temperature,
            clip=clip,
            exclude_seen=exclude_seen,
            as_json=as_json,
        )
        return
    if not (k is temperature is clip is exclude_seen is None):
        raise typer.BadParameter(
            "-k, --temperature, --clip and --exclude-seen need --logged: the test set is measured as the "
            "run's [evaluation] says"
        )
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import endings  # noqa: PLC0415
    from twotower.cli.measures import print_evaluation, print_slices  # noqa: PLC0415
    from twotower.cli.notes import Notes  # noqa: PLC0415
    from twotower.cli.output import new_console, print_json  # noqa: PLC0415
    from twotower.cli.screen import print_screen  # noqa: PLC0415

    place = engine_of(engine, address, workers)
    report = workflows.evaluate(run, engine=place, log=Notes(full=full or as_json))
    if as_json:
        print_json(report)
        return
    if full:
        print_evaluation(report)
        print_slices(report["slices"])
    done = workflows.Run.finished(run)
    print_screen(new_console(), endings.evaluated(done.config(), report, done.metrics(), run, full=full))
