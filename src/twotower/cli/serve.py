"""``twotower serve``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import whole
from twotower.core.durations import seconds_of
from twotower.errors import ConfigError, nearest

_LIMITS = (
    "body_bytes body_seconds k users answer_items answer_bytes list_length events user_events "
    "filters explain id_length features requests_at_once connections head_bytes head_seconds "
    "idle_seconds write_seconds waiting work_seconds load_seconds drain_seconds "
    "last_seconds"
)
LIMITS = tuple(_LIMITS.split())
"""The fields of `twotower.server.Limits`, copied because importing it would slow down --help."""
_SECRETS = ("TWOTOWER_TOKEN", "TWOTOWER_ADMIN_TOKEN", "TWOTOWER_TOKEN_FILE")
_LEVELS = ("debug", "info", "warning", "error")


def _port(text: str) -> int:
    if str(text).startswith("tcp://"):  # a default comes as a number
        raise typer.BadParameter(
            f"must be a number, got {text!r}, as Kubernetes sets TWOTOWER_PORT for a service of the name "
            "twotower; give --port, or set enableServiceLinks: false"
        )
    return whole(text)


@guarded
def serve(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            envvar="TWOTOWER_RUNS",
            help="Directory of a finished run; of several with --split.",
        ),
    ],
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", parser=_port, metavar="N", help="Port; 0 takes a free one.")
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
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="ADDRESS",
            envvar="TWOTOWER_INDEX",
            help="Search in the vector database that the run was published to, such as "
            "milvus://HOST:PORT/COLLECTION, instead of the run's own index.",
            show_default=False,
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
        bool,
        typer.Option(
            "--open", envvar="TWOTOWER_OPEN", help="Accept requests from other machines without a token."
        ),
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
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            parser=whole,
            metavar="N",
            help="Serve with N processes at one address, which share the bundle in memory. SIGUSR2 replaces "
            "them one after another.",
        ),
    ] = 1,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="TIME",
            help="Remove events from the store once they are older, such as 90d or 12h (s, m, h, d, w).",
            show_default="for ever",
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
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="A/B",
            help="With several runs: percent of the users that each answers, such as 90/10, by a stable hash "
            "of the user's id.",
        ),
    ] = None,
    salt: Annotated[
        str, typer.Option("--salt", metavar="TEXT", help="With --split: changes which users get which run.")
    ] = "",
    shadow: Annotated[
        Path | None,
        typer.Option(
            "--shadow",
            metavar="RUN",
            help="Also ask this run, after each answer and at the lowest priority, and log its lists; it "
            "never answers.",
        ),
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option(
            "--audit-log",
            metavar="FILE",
            help="Append who changed what (events, items, reloads, shares), one JSON object a line. Default: "
            "the log.",
            show_default=False,
        ),
    ] = None,
    traces: Annotated[
        str | None,
        typer.Option(
            "--traces",
            metavar="URL",
            help="Send OpenTelemetry traces to this OTLP/HTTP receiver, such as http://localhost:4318 (extra "
            "otel).",
            show_default=False,
        ),
    ] = None,
    log_level: Annotated[
        str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Serve a run over HTTP, with a page at its address. SIGHUP loads the run again; Ctrl-C ends it.

    With several runs, each answers a share of the users; events go to all.
    """
    if log_level not in _LEVELS:
        raise typer.BadParameter(
            f"--log-level must be one of {', '.join(_LEVELS)}, got {log_level!r}."
            f"{nearest(log_level, _LEVELS)}"
        )
    if without_store not in ("refuse", "serve"):
        raise typer.BadParameter(f"--without-store must be refuse or serve, got {without_store!r}")
    if not 1 <= workers <= 256:
        raise typer.BadParameter(f"--workers must lie between 1 and 256, got {workers}")
    if not 0 <= port <= 65535:
        raise typer.BadParameter(f"--port must lie between 0 and 65535, got {port}")
    from twotower import server, workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415

    for name in _SECRETS:
        if name in os.environ and not os.environ[name].strip():
            raise ConfigError(f"{name} is set but empty; unset it for no token, or set it to a secret")
    found, *others = (workflows.Run.finished(run) for run in runs)
    beside = found.path.resolve()
    names = [beside.name, *(other.path.resolve().name for other in others)]
    shadowed = None if shadow is None else workflows.Run.finished(shadow)
    settings = server.Settings(
        bundle=found.bundle,
        others=dict(zip(names[1:], (other.bundle for other in others), strict=True)),
        name=names[0],
        split=shares_of(split, names),
        salt=salt,
        audit_log=audit_log,
        traces=traces,
        shadow=None if shadowed is None else {shadowed.path.resolve().name: shadowed.bundle},
        store=store or str(beside.with_name(f"{beside.name}.events.db")),
        token=token,
        admin_token=admin_token,
        without_store=cast(Literal["refuse", "serve"], without_store),
        exclude_seen=exclude_seen,
        keep=None if keep is None else seconds_of("--keep", keep),
        limits=server.Limits.parse(limits or ()),
        token_file=token_file,
        hosts=server.names_of(host, allow_host or ()),
        open=open_,
        index=index,
    )
    if server.exposed(host) and server.Access(settings).tokenless:
        if not open_:
            raise ConfigError(
                f"--host {host} can be reached from other machines and needs a token; set TWOTOWER_TOKEN, or "
                "use --open to accept requests without one"
            )
        output.log("warning: everyone who reaches this machine can read, send events and change items")
    served = " and ".join(str(one.path) for one in (found, *others))
    said = f"serving {served} at {{}} (Ctrl-C ends it)"
    if workers > 1 and shadow is not None:
        raise ConfigError("--shadow works with one process; leave out --workers, or serve the shadow apart")
    if workers > 1:
        from twotower.server.plan import Plan, become  # noqa: PLC0415

        become(Plan(settings, workers, host, port, log_level, said))
    server.serve(
        settings,
        host=host,
        port=port,
        log_level=log_level,
        started=lambda address: output.log(said.replace("{}", address)),
    )


def shares_of(split: str | None, names: Sequence[str]) -> dict[str, float] | None:
    """Return the percent of each run for ``--split 90/10``; None for one run.

    Raises:
        ConfigError: not as many numbers as runs, or two runs of one name.
    """
    if len(set(names)) < len(names):
        raise ConfigError(
            f"runs that are served together must have different names, got {', '.join(names)}; rename one"
        )
    if split is None:
        if len(names) > 1:
            raise ConfigError(
                f"{len(names)} runs need --split, the percent of the users that each answers, such as "
                f"--split {'/'.join([str(100 // len(names))] * len(names))}"
            )
        return None
    if len(names) == 1:
        raise ConfigError("--split needs several runs; name the other one too: twotower serve RUN_A RUN_B")
    try:
        shares = [float(part) for part in split.split("/")]
    except ValueError:
        raise ConfigError(f"--split must be numbers such as 90/10, got {split!r}") from None
    if len(shares) != len(names):
        raise ConfigError(f"--split must have a number for each of the {len(names)} runs, got {split!r}")
    return dict(zip(names, shares, strict=True))
