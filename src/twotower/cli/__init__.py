"""The command line: ``twotower``. Each command only parses, calls the library and prints."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from twotower.cli.check import check
from twotower.cli.compare import compare
from twotower.cli.demo import demo
from twotower.cli.evaluate import evaluate
from twotower.cli.events import events
from twotower.cli.experiment import experiment
from twotower.cli.export import export
from twotower.cli.fetch import fetch
from twotower.cli.forget import forget
from twotower.cli.index import index
from twotower.cli.init import init
from twotower.cli.publish import publish
from twotower.cli.recommend import recommend
from twotower.cli.report import report
from twotower.cli.score import score
from twotower.cli.serve import serve
from twotower.cli.similar import similar
from twotower.cli.synth import synth
from twotower.cli.train import train
from twotower.cli.tune import tune
from twotower.cli.usage import KEPT, Command, Commands, FromEnvironment

app = typer.Typer(
    name="twotower",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain, the same in a terminal and in a pipe
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: twotower demo",
)

for _command, _example in (
    (demo, "twotower demo --out runs/demo"),
    (fetch, "twotower fetch kuairec --out data/kuairec"),
    (synth, "twotower synth kuairec data/synthetic --scale 0.01"),
    (init, "twotower init ratings.csv films.csv --out films.toml"),
    (check, "twotower check films.toml"),
    (train, "twotower train kuairec-sample --out runs/first --set model.dim=32"),
    (evaluate, "twotower evaluate runs/first --json"),
    (compare, "twotower compare runs/first"),
    (report, "twotower report runs/first"),
    (tune, "twotower tune kuairec-sample-ranking --out runs/tuned --minutes 30"),
    (index, "twotower index runs/first --recall 0.98"),
    (recommend, "twotower recommend runs/first --user 14 -k 10"),
    (similar, "twotower similar runs/first --item 3649 -k 10"),
    (publish, "twotower publish runs/first milvus://localhost:19530/films --keep 2"),
    (export, "twotower export runs/first --onnx towers"),
    (serve, "twotower serve runs/first --port 8000"),
    (forget, "twotower forget runs/first.events.db runs/first --user 14"),
    (events, "twotower events export runs/first.events.db --out events.parquet"),
    (experiment, "twotower experiment runs/first.events.db --window 7d"),
    (score, "twotower score runs/first --pairs pairs.csv --out predictions.parquet"),
):
    _cls = FromEnvironment if _command is serve else Command
    app.command(cls=_cls, epilog=f"{KEPT}Example: {_example}")(_command)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # noqa: PLC0415

        print(version("twotower"))
        raise typer.Exit


@app.callback()
def _twotower(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, honestly evaluate and use two-tower recommenders."""
    del version
    if debug:
        os.environ["TWOTOWER_DEBUG"] = "1"


def main() -> None:
    """Run the command line; the entry point of the package."""
    # Python sets a stream to None if the shell has closed it.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  (stays open)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # no error if the terminal can't show a character
    # By default OpenMP's idle threads spin: on a busy machine, training is then ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app(prog_name="twotower")
