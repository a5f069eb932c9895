"""``twotower recommend``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from twotower.cli.errors import guarded
from twotower.cli.options import (
    AddressOption,
    AllowOption,
    DenyOption,
    EngineOption,
    JsonOption,
    KOption,
    RunArgument,
    StrictOption,
    WorkersOption,
    candidates,
    engine_of,
)
from twotower.core.wording import count_of

_SOMEONE_NEW = " For someone new give --item ID or --feature COLUMN=VALUE too."


def _moment(text: str) -> datetime:
    """Parse an ISO 8601 time, in UTC if it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"must be a time such as 2024-03-01T20:00:00Z, got {text!r}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


@guarded
def recommend(
    run: RunArgument,
    users: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ID", help="Recommend to this user; can be repeated."),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--item",
            metavar="ID",
            help="Recommend to someone who liked this item: someone new, or the --user since training; "
            "can be repeated.",
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--feature",
            metavar="COLUMN=VALUE",
            help="Recommend to a new user with this feature; can be repeated, and combined with --item and "
            "the --user ID of someone new.",
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context",
            metavar="COLUMN=VALUE",
            help="In what context it is asked: a column of [schema.context]; can be repeated.",
        ),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at",
            parser=_moment,
            metavar="TIME",
            help="When it is asked, as 2024-03-01T20:00:00Z (UTC without a zone), for models that read "
            "histories or the time.",
            show_default="now",
        ),
    ] = None,
    everyone: Annotated[
        bool,
        typer.Option("--all", help="Recommend to every user; write user_id, item_id, rank, score to --out."),
    ] = False,
    k: KOption = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="With --all: the .parquet or .csv file to write; also at an address (s3://...).",
        ),
    ] = None,
    exclude_seen: Annotated[
        bool | None,
        typer.Option(
            "--exclude-seen/--include-seen",
            help="Leave out or include items that the user has in the training set, or that --item names.",
            show_default="as the run's evaluation.exclude_seen",
        ),
    ] = None,
    allow: AllowOption = None,
    deny: DenyOption = None,
    diversity: Annotated[
        list[str] | None,
        typer.Option(
            "--diversity",
            metavar="KEY=VALUE",
            help="A rule for each list, a key of [diversity]: column=author and at_most=2, new_share=0.2, "
            "relevance=0.7; can be repeated. none: no rules.",
            show_default="as the run's [diversity]",
        ),
    ] = None,
    strict: StrictOption = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score every item, even if the run has an index.")
    ] = False,
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="ADDRESS",
            help="Search in the vector database that the run was published to, such as "
            "milvus://HOST:PORT/COLLECTION, instead of the run's own index.",
        ),
    ] = None,
    engine: EngineOption = None,
    address: AddressOption = None,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend the highest-scoring items to a user, to someone new, or to every user.

    --user, --item and --feature together describe one person: a known user who since liked more items, or
    someone new. Tables name the columns as your data does; --json and --out write user_id and item_id.
    Every item is scored unless the run has an index; see `twotower index`.
    """
    users, described = list(dict.fromkeys(users or ())), _described(features, "--feature")
    _check_who(users, items or described, engine, everyone=everyone)
    around = _around(context, at, everyone=everyone)
    if everyone == (out is None):
        raise typer.BadParameter("--all and --out FILE must be used together")
    searched = _searched(index, engine, exact=exact)
    place = engine_of(engine, address, workers)
    from twotower import workflows  # noqa: PLC0415
    from twotower.cli import output  # noqa: PLC0415
    from twotower.cli.progress import counting  # noqa: PLC0415
    from twotower.core.urls import without_secrets  # noqa: PLC0415
    from twotower.recommender.query import Query  # noqa: PLC0415

    finished = workflows.Run.finished(run)
    finished.check_output(out)
    recommender = finished.recommender(index=searched)
    if recommender.index is not None and index is None:
        output.log(finished.index_note())

    filters = candidates(recommender, allow, deny, strict=strict) | _rules(diversity)
    if out is not None:
        with counting("users") as counter:
            rows = workflows.recommend_all(
                recommender,
                out,
                k,
                exclude_seen=exclude_seen,
                engine=place,
                progress=counter.show,
                **filters,
            )
        if as_json:
            output.print_json({"out": without_secrets(out), "rows": rows})
        else:
            output.log(f"wrote {count_of(rows, 'row')} to {without_secrets(out)}")
        return
    if items or described:
        user = next(iter(users), None)
        query = Query(user=user, history=items or None, features=described or None, **around)
        frame = recommender.recommend(query, k, exclude_seen=exclude_seen, **filters)
        said = f" who liked {', '.join(items)}" if items else ""
        said += f" with {', '.join(features)}" if features else ""
        if users:
            frame = frame.drop(frame.columns[0])  # the place of the only query
        found = output.given_json(frame, items or (), described, *users)
        answers = [(f"recommended to {f'user {users[0]}' if users else 'someone new'}{said}", frame, found)]
    else:
        answers = []
        for user in users:
            recommender.users.known_rows(user, "user", _SOMEONE_NEW)
            query = Query(user=user, **around)
            frame = recommender.recommend(query, k, exclude_seen=exclude_seen, **filters)
            frame = frame.drop(frame.columns[0])
            found = output.recommendations_json(frame, user)
            answers.append((f"recommended to user {user}", frame, found))
    if as_json:
        output.print_json(output.one_or_all([found for _, _, found in answers]))
    else:
        for title, frame, _ in answers:
            output.print_items(frame, title)


def _check_who(users: list[str], described: object, engine: str | None, *, everyone: bool) -> None:
    """Check that it is said whom to recommend to, in a way that holds together."""
    if everyone and (users or described):
        raise typer.BadParameter("--all is every user; leave out --user, --item and --feature")
    if engine is not None and not everyone:
        raise typer.BadParameter("--engine is for --all")
    if not (everyone or users or described):
        raise typer.BadParameter(
            "say whom to recommend to: --user ID, --item ID or --feature COLUMN=VALUE for someone new, or "
            "--all"
        )
    if len(users) > 1 and described:
        raise typer.BadParameter(
            f"--item and --feature describe one user, got {len(users)} of --user; run it once for each"
        )


def _searched(index: str | None, engine: str | None, *, exact: bool) -> bool | str:
    """Return which index is searched: an address, that of the run (true), or none."""
    if index is not None and (exact or engine is not None):
        raise typer.BadParameter("--index can't be combined with --exact or --engine; leave one of them out")
    return not exact if index is None else index


def _around(context: list[str] | None, at: datetime | None, *, everyone: bool) -> dict[str, Any]:
    """Return the context and the time of a query."""
    if everyone and (context or at):
        raise typer.BadParameter("--all makes lists for any request; leave out --context and --at")
    return {"context": _described(context, "--context") or None, "at": at}


def _rules(given: list[str] | None) -> dict[str, Any]:
    """Return the rules for lists as an argument; none for those of the run."""
    if given is None:
        return {}
    return {"diversity": given != ["none"] and _described(given, "--diversity")}


def _described(features: list[str] | None, option: str) -> dict[str, str]:
    """Return what an option gives as COLUMN=VALUE."""
    for one in features or ():
        if "=" not in one:
            raise typer.BadParameter(f"{option} takes COLUMN=VALUE, got {one!r}; write for example age=31")
    return {name: value for name, _, value in (one.partition("=") for one in features or ())}
