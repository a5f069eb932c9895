"""``twotower check``."""

from __future__ import annotations

from typing import Annotated

import typer

from twotower.cli.errors import YOURS, guarded
from twotower.cli.options import ConfigArgument, JsonOption, SetOption


@guarded
def check(
    config: ConfigArgument,
    settings: SetOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 on warnings too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the data before training; exit code 2 if there are errors."""
    from twotower.audit import Severity, audit  # noqa: PLC0415
    from twotower.cli.findings import print_findings  # noqa: PLC0415
    from twotower.cli.output import log, print_json  # noqa: PLC0415
    from twotower.config import load_config  # noqa: PLC0415

    found = audit(load_config(config, settings or ()), progress=log)
    if as_json:
        print_json(found.as_dict())
    else:
        print_findings(found)
    if found.of(Severity.ERROR) or (strict and found.of(Severity.WARNING)):
        raise typer.Exit(YOURS)
