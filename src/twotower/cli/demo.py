"""``twotower demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import JsonOption, SetOption


@guarded
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Where the run is saved.")] = Path(
        "runs/demo"
    ),
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on the packaged sample of KuaiRec, compare with the baselines, and recommend ten videos."""
    from twotower import experiment  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.cli.progress import training_progress  # noqa: PLC0415

    with training_progress() as listener:
        result = experiment.demo(out, overrides=tuple(settings or ()), listener=listener, log=output.log)
    comparison = result.comparison.as_dict()
    if as_json:
        recommended = output.recommendations_json(result.recommendations, result.user)
        output.print_json({"run": str(result.run.path), "comparison": comparison, "recommended": recommended})
        return
    output.print_comparison(comparison)
    output.print_recommendations(result.recommendations, result.user)
    output.log(f"saved in {result.run.path}; try `twotower recommend {result.run.path} --user {result.user}`")
