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
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file to write; default: report.html in the run."),
    ] = None,
    all_baselines: Annotated[
        bool | None,
        typer.Option(
            "--all-baselines/--no-baselines",
            help="Compare with all baselines (slow) or none; default: the fast or already tuned ones.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a report on a run as one HTML file that opens offline: metrics, charts, checks."""
    from twotower.cli.output import log, print_json, say  # noqa: PLC0415
    from twotower.report import write_report  # noqa: PLC0415

    baselines = "quick" if all_baselines is None else "all" if all_baselines else "none"
    found = write_report(run, out, baselines=baselines, log=log)
    if as_json:
        print_json(found.as_dict())
        return
    for finding in found.findings:
        say(f"{finding.severity.value}: {finding.what} ({finding.evidence})")
    if all_baselines is None and found.case.left_out:
        log(f"baselines left out: {', '.join(found.case.left_out)}; --all-baselines adds them where possible")
    say(f"{found.path}, {found.path.stat().st_size / 1e6:.1f} MB, {found.seconds:.1f} s")
