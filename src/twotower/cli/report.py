"""``twotower report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument


@guarded
def report(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The file; default: report.html in the run.")
    ] = None,
    all_baselines: Annotated[
        bool | None,
        typer.Option(
            "--all-baselines/--no-baselines",
            help="Every baseline, which may take minutes, or none; default: those that are quick.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML file on what a run is worth: metrics, charts, a doctor, reasons. Opens offline."""
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.report import write_report  # noqa: PLC0415

    baselines = "quick" if all_baselines is None else "all" if all_baselines else "none"
    found = write_report(run, out, baselines=baselines, log=log)
    if as_json:
        print_json(found.as_dict())
        return
    for finding in found.findings:
        print(f"{finding.severity.value}: {finding.what} ({finding.evidence})")
    if all_baselines is None and found.case.left_out:
        log(f"baselines left out: {', '.join(found.case.left_out)}; --all-baselines takes what can be had")
    print(f"{found.path}, {found.path.stat().st_size / 1e6:.1f} MB, {found.seconds:.1f} s")
