"""Arguments that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from twotower.recommender import Recommender
    from twotower.training.engine import Engine


def whole(text: str) -> int:
    """Parse a whole number."""
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number, got {text!r}") from None


def number(text: str) -> float:
    """Parse a number."""
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number such as 0.5, got {text!r}") from None


def _last_counts(settings: list[str] | None) -> list[str] | None:
    """Warn if one setting has two values."""
    last: dict[str, str] = {}
    for setting in settings or ():
        key, _, value = (part.strip() for part in setting.partition("="))
        if key in last and last[key] != value:
            print(
                f"warning: --set {key} is set twice, to {last[key]} and {value}; the last one is used",
                file=sys.stderr,
            )
        last[key] = value
    return settings


def typed_config(config: str, settings: Sequence[str] | None) -> list[str]:
    """Return the words of a command that name a config and override its settings."""
    return [config, *(word for setting in settings or () for word in ("--set", setting))]


ConfigArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A TOML file, or a recipe by name, such as kuairec-sample.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a finished run.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Override one setting; can be repeated.",
        callback=_last_counts,
    ),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="KIND[=ADDRESS]",
        help="Also log to mlflow or tensorboard, by default into mlflow.db or the folder tensorboard here; "
        "can be repeated.",
    ),
]
KOption = Annotated[
    int | None, typer.Option("-k", parser=whole, metavar="N", help="How many items.", show_default="10")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
FullOption = Annotated[bool, typer.Option("--full", help="Print every table and note before the summary.")]
AllowOption = Annotated[
    Path | None,
    typer.Option("--allow", metavar="FILE", help="List only the items in this .csv or .parquet file."),
]
DenyOption = Annotated[
    Path | None,
    typer.Option("--deny", metavar="FILE", help="Never list the items in this .csv or .parquet file."),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Treat unknown items in --allow or --deny as an error.")
]


def _engine(text: str) -> str:
    if text != "ray":
        raise typer.BadParameter(f"must be ray, got {text!r}; leave it out for this process alone")
    return text


EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        parser=_engine,
        metavar="ray",
        help="Work on a Ray cluster, by default one of this machine.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="With --engine ray: an existing cluster: auto, HOST:PORT or ray://HOST:PORT.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", parser=whole, metavar="N", help="With --engine ray: how many workers.", show_default="2"
    ),
]


def engine_of(engine: str | None, address: str | None, workers: int | None) -> Engine | None:
    """Return the engine that the options name; None for this process."""
    if engine is None:
        if address is not None or workers is not None:
            raise typer.BadParameter("--address and --workers need --engine ray")
        return None
    from twotower.distributed import Ray  # noqa: PLC0415  (torch: only once it is needed)

    return Ray(address, Ray.workers if workers is None else workers)


def candidates(
    recommender: Recommender, allow: Path | None, deny: Path | None, *, strict: bool
) -> dict[str, Any]:
    """Return the arguments of `Recommender.recommend` for ``--allow``, ``--deny`` and ``--strict``."""
    from twotower.workflows import read_items  # noqa: PLC0415

    files = {"allow": allow, "deny": deny}
    return {
        **{name: None if path is None else read_items(recommender, path) for name, path in files.items()},
        "strict": strict,
    }
