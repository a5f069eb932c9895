"""``twotower serve``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import RunArgument, whole
from twotower.errors import ConfigError, nearest

_LIMITS = (
    "body_bytes body_seconds k users answer_items answer_bytes list_length events user_events "
    "filters explain id_length features requests_at_once connections head_bytes head_seconds "
    "idle_seconds write_seconds waiting work_seconds load_seconds last_seconds"
)
LIMITS = tuple(_LIMITS.split())
"""The fields of `twotower.server.Limits`, copied because importing it would slow down --help."""
_SECRETS = ("TWOTOWER_TOKEN", "TWOTOWER_ADMIN_TOKEN", "TWOTOWER_TOKEN_FILE")
_LEVELS = ("debug", "info", "warning", "error")


@guarded
def serve(
    run: RunArgument,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", parser=whole, metavar="N", help="Port; 0 takes a free one.")
    ] = 8000,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="STORE",
            help="Where events and new items are kept: a SQLite file, or redis://HOST:PORT/DB. "
            "Default: RUN.events.db beside the run.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TOKEN",
            envvar="TWOTOWER_TOKEN",
            help="Bearer token required for everything except reloads.",
            show_default=False,
        ),
    ] = None,
    admin_token: Annotated[
        str | None,
        typer.Option(
            "--admin-token",
            metavar="TOKEN",
            envvar="TWOTOWER_ADMIN_TOKEN",
            help="Bearer token for reloads; without it, reloads over HTTP are disabled.",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            envvar="TWOTOWER_TOKEN_FILE",
            help="More tokens, one per line: 'scope[,scope] TOKEN', scopes of read, events, items, metrics "
            "and admin. SIGHUP reads it again.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            envvar="TWOTOWER_ALLOW_HOST",
            help="Accept requests for this host name, besides localhost, --host and IP addresses; * for all; "
            "can be repeated.",
            show_default=False,
        ),
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Accept requests from other machines without a token.")
    ] = False,
    without_store: Annotated[
        str,
        typer.Option(
            "--without-store",
            metavar="WHAT",
            help="If the event store does not answer: refuse (status 503), or serve trained users "
            "recommendations without recent events, marked as such.",
        ),
    ] = "refuse",
    limits: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            envvar="TWOTOWER_LIMITS",
            help="Change a limit on requests, such as k=200 or body_seconds=5; can be repeated. "
            f"Names: {', '.join(LIMITS)}.",
        ),
    ] = None,
    exclude_seen: Annotated[
        bool | None,
        typer.Option(
            "--exclude-seen/--include-seen",
            help="Exclude or include seen items, unless the request says which.",
            show_default="as the run's evaluation.exclude_seen",
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Serve a run over HTTP, with a page at its address. SIGHUP loads the run again; Ctrl-C ends it."""
    if log_level not in _LEVELS:
        raise typer.BadParameter(
            f"--log-level must be one of {', '.join(_LEVELS)}, got {log_level!r}."
            f"{nearest(log_level, _LEVELS)}"
        )
    if without_store not in ("refuse", "serve"):
        raise typer.BadParameter(f"--without-store must be refuse or serve, got {without_store!r}")
    if not 0 <= port <= 65535:
        raise typer.BadParameter(f"--port must lie between 0 and 65535, got {port}")
    from twotower import server, workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415

    for name in _SECRETS:
        if name in os.environ and not os.environ[name].strip():
            raise ConfigError(f"{name} is set but empty; unset it for no token, or set it to a secret")
    found = workflows.Run.finished(run)
    beside = found.path.resolve()
    settings = server.Settings(
        bundle=found.bundle,
        store=store or str(beside.with_name(f"{beside.name}.events.db")),
        token=token,
        admin_token=admin_token,
        without_store=cast(Literal["refuse", "serve"], without_store),
        exclude_seen=exclude_seen,
        limits=server.Limits.parse(limits or ()),
        token_file=token_file,
        hosts=server.names_of(host, allow_host or ()),
        open=open_,
    )
    if server.exposed(host) and server.Access(settings).tokenless:
        if not open_:
            raise ConfigError(
                f"--host {host} can be reached from other machines and needs a token; set TWOTOWER_TOKEN, or "
                "use --open to accept requests without one"
            )
        output.log("warning: everyone who reaches this machine can read, send events and change items")
    server.serve(
        settings,
        host=host,
        port=port,
        log_level=log_level,
        started=lambda address: output.log(f"serving {found.path} at {address} (Ctrl-C ends it)"),
    )
