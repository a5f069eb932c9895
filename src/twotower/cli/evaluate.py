"""``twotower evaluate``."""

from __future__ import annotations

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument


@guarded
def evaluate(run: RunArgument, as_json: JsonOption = False) -> None:
    """Measure a run's model on its test part: predicted labels and rankings, by slice, with intervals."""
    from twotower import experiment  # noqa: PLC0415
    from twotower.cli.measures import print_evaluation, print_slices  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415

    report = experiment.evaluate(run, log=log)
    if as_json:
        print_json(report)
    else:
        print_evaluation(report)
        print_slices(report["slices"])
