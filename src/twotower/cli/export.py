"""``twotower export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, RunArgument


@guarded
def export(
    run: RunArgument,
    onnx: Annotated[Path, typer.Option("--onnx", metavar="DIR", help="Directory to write the towers to.")],
    as_json: JsonOption = False,
) -> None:
    """Write each tower as ONNX, checked against torch in ONNX Runtime."""
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.export import export_onnx  # noqa: PLC0415

    found = export_onnx(workflows.Run.finished(run).recommender(), onnx)
    if as_json:
        towers = {
            which: {"file": str(tower.path), "inputs": tower.inputs, "difference": tower.difference}
            for which, tower in found.items()
        }
        output.print_json({"towers": towers})
        return
    for which, tower in found.items():
        output.say(
            f"{which}: {tower.path}, {tower.path.stat().st_size:,} bytes; differs from torch by "
            f"{tower.difference:.1e} of its largest number at most, in {tower.rows:,} rows"
        )
