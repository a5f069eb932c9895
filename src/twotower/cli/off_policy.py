"""The part of ``twotower evaluate`` that estimates a run's worth from a log of another policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from twotower.workflows import LoggedEvaluation

_TITLES = {"ips": "IPS", "snips": "SNIPS", "dr": "DR (doubly robust)"}


def evaluate_log(
    run: Path,
    logged: str,
    *,
    k: int | None,
    temperature: float | None,
    clip: float | None,
    exclude_seen: bool | None,
    as_json: bool,
) -> None:
    """Estimate, and print."""
    if k is not None and temperature is not None:
        raise typer.BadParameter("-k and --temperature are two policies; give one of them")
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.evaluation import ListPolicy, SoftmaxPolicy  # noqa: PLC0415

    policy = ListPolicy() if k is None else ListPolicy(k)
    found = workflows.evaluate_logged(
        workflows.Run.finished(run).recommender(index=False),
        logged,
        policy if temperature is None else SoftmaxPolicy(temperature),
        clip=clip,
        exclude_seen=exclude_seen,
    )
    for note in found.notes:
        log(f"note: {note}")
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)


def _print(evaluation: LoggedEvaluation) -> None:
    from twotower.cli.measures import bounds  # noqa: PLC0415
    from twotower.cli.output import new_console, new_table  # noqa: PLC0415

    found, console = evaluation.found, new_console()
    weights = found.weights
    table = new_table("mean reward", "value", "95% interval", "minus logged", "95% interval")
    table.add_row("logged", f"{found.logged:.4f}", bounds(found.logged.as_dict(), ".4f"), "", "")
    for name, value in found.values.items():
        base, _, clipped = name.partition("_")
        less = found.ours_minus_logged[name]
        table.add_row(
            f"{base.upper()}, clipped" if clipped else _TITLES[base],
            f"{value:.4f}",
            bounds(value.as_dict(), ".4f"),
            f"{less:+.4f}",
            bounds(less.as_dict(), "+.4f"),
        )
    console.print(
        f"{found.rows:,} logged rows of {found.users:,} users; our policy: {evaluation.policy}", markup=False
    )
    console.print(table)
    console.print(
        f"effective sample size {weights.effective:,.0f} of {found.rows:,} rows; our policy could show "
        f"{weights.positive:,} of them; mean weight {weights.mean}; {weights.clipped:,} weights clipped at "
        f"{weights.clip:.3g}",
        markup=False,
    )
