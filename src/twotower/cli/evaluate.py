"""``twotower evaluate``."""

from __future__ import annotations

from twotower.cli.errors import guarded
from twotower.cli.options import (
    AddressOption,
    EngineOption,
    FullOption,
    JsonOption,
    RunArgument,
    WorkersOption,
    engine_of,
)


@guarded
def evaluate(
    run: RunArgument,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the model of a run on its test set: predicted labels and rankings, with intervals."""
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
