"""``twotower demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import FullOption, JsonOption, SetOption


@guarded
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Directory to save the run in.")] = Path(
        "runs/demo"
    ),
    settings: SetOption = None,
    full: FullOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train on the packaged sample of KuaiRec, compare with baselines, and recommend ten videos.

    One model predicts watch ratios; another ranks, recommends and is saved.
    """
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import endings, output  # noqa: PLC0415
    from twotower.cli.measures import print_comparison  # noqa: PLC0415
    from twotower.cli.notes import Notes  # noqa: PLC0415
    from twotower.cli.progress import training_progress  # noqa: PLC0415
    from twotower.cli.screen import print_screen  # noqa: PLC0415

    log = Notes(full=full or as_json)
    with training_progress() as callbacks:
        result = workflows.demo(out, overrides=tuple(settings or ()), callbacks=callbacks, log=log)
    rating, ranking = result.rating.as_dict(), result.ranking.as_dict()
    if as_json:
        recommended = output.recommendations_json(result.recommendations, result.user)
        output.print_json(
            {"run": str(result.run.path), "rating": rating, "ranking": ranking, "recommended": recommended}
        )
        return
    if full:
        print_comparison(rating)
        print_comparison(ranking)
        output.print_recommendations(result.recommendations, result.user)
    names = output.item_names(result.recommendations)
    screen = endings.demonstrated(
        result.configs, rating, ranking, result.run.path, result.user, names, full=full
    )
    print_screen(output.new_console(), screen)
