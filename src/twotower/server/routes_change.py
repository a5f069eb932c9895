"""Requests that change answers: events, added and removed items, a new model."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Annotated

import orjson
from fastapi import Path, Request
from starlette.responses import Response

from twotower.errors import BundleError, TwoTowerError
from twotower.recommender.fitted_towers import Unknown
from twotower.server.errors import ApiError, shown
from twotower.server.inputs import Id, new_id
from twotower.server.openapi import Json, gives, takes
from twotower.server.request_body import body_of
from twotower.server.request_models import EventBody, EventsBody, ItemBody
from twotower.server.response_models import EventsAnswer, ItemAnswer, ReloadAnswer
from twotower.server.scoped_routes import needs, scoped_router
from twotower.server.service import Service, service_of
from twotower.server.state import State
from twotower.server.state_manager import live_item
from twotower.server.store import Event, EventConflict, StoredItem

log = logging.getLogger("twotower.server")

router = scoped_router("/v1", tags=["change"])

ItemPath = Annotated[str, Path(max_length=4096, examples=["900001"])]

EARLIEST = 631_152_000.0
"""1990-01-01: what is older is a clock that was never set, or milliseconds divided twice."""
AHEAD = 86_400.0
"""Seconds that a sender's clock may be ahead of ours."""
_FEW = 200
"""Events that are checked at once, without a thread."""


@router.post(
    "/events",
    response_class=Json,
    responses=gives(EventsAnswer, 400, 408, 409, 413),
    openapi_extra=takes(EventsBody),
)
@needs("events")
async def events(request: Request) -> Json:
    """Record what users did. The events are on disk, and count, once the request is answered."""
    service = service_of(request)
    deadline = service.workers.deadline()
    async with body_of(request, EventsBody, service, deadline) as body:
        now, state = time.time(), service.state

        def work() -> list[Event]:
            return [_event(service, state, event, f"events.{n}", now) for n, event in enumerate(body.events)]

        found = work() if len(body.events) <= _FEW else await service.workers.run(deadline, work)
    try:
        stored = await service.store.append(found)
    except EventConflict as error:
        place = next(n for n, event in reversed(list(enumerate(found))) if event.id == error.id)
        raise ApiError(
            409,
            f"events.{place}: an event with the id {shown(error.id)} is known, and is another one (user, "
            "item, kind or value differ); give it an id of its own. None of these events was stored",
            f"events.{place}.id",
        ) from None
    request.state.audit = {"events": len(found), "stored": stored}
    service.metrics.events.inc(stored)
    if stored == len(found):
        service.drift.saw(service.state, found)
    service.metrics.duplicates.inc(len(found) - stored)
    return Json({"stored": stored, "duplicates": len(found) - stored})


def _event(service: Service, state: State, event: EventBody, where: str, now: float) -> Event:
    longest = service.limits.id_length
    user = new_id(state.users, "user", event.user_id, longest, f"{where}.user_id")
    item = state.items.trained.ids.native(event.item_id)
    if state.items.row(item, gone=True) is None:
        raise ApiError(422, f"{where}: there is no item {shown(event.item_id)}", f"{where}.item_id")
    if event.value is not None and state.recommender.encoder.schema.label is None:
        raise ApiError(422, f"{where}: this model has no label; leave value out", f"{where}.value")
    if fault := state.encoder.histories.interactions.fault((event.value,)):
        raise ApiError(422, f"{where}: {fault}", f"{where}.value")
    if not all(letter.isprintable() for letter in event.id):
        raise ApiError(422, f"{where}: an event's id must be printable, got {shown(event.id)}", f"{where}.id")
    moment = _seconds(event.time, now, where)
    keep = service.settings.keep
    if keep is not None and moment < now - keep:
        raise ApiError(
            422,
            f"{where}: this server keeps events for {keep / 86_400:g} days, and this one is "
            f"{(now - moment) / 86_400:.0f} days old",
            f"{where}.time",
        )
    return Event(event.id, str(user), str(item), event.kind, event.value, moment)


def _seconds(given: float | datetime | None, now: float, where: str) -> float:
    if given is None:
        return now
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ApiError(422, f"{where}: a time as text needs a time zone, such as Z", f"{where}.time")
        given = given.timestamp()
    if not EARLIEST <= given <= now + AHEAD:
        raise ApiError(
            422,
            f"{where}: a time must lie between 1990 and a day from now, seconds since 1970; got {given:.0f}",
            f"{where}.time",
        )
    return given


@router.put(
    "/items/{item_id:rest}",
    response_class=Json,
    responses=gives(ItemAnswer, 400, 408, 409, 413)
    | {201: {"model": ItemAnswer, "description": "The item is new."}},
    openapi_extra=takes(ItemBody),
)
@needs("items")
async def put_item(request: Request, item_id: ItemPath) -> Json:
    """Add an item by its features; it can be recommended at once.

    An item that the model was trained with is served as trained, and can't be changed before it is trained
    again; put with no columns it comes back after it was taken away.
    """
    service = service_of(request)
    deadline = service.workers.deadline()
    async with body_of(request, ItemBody, service, deadline) as body:
        columns, state = body.columns, service.state
    name, unknown = _new_item(state, item_id, service.limits.id_length), Unknown()
    trained = state.items.trained.ids.index.get(name)
    if trained is not None and state.recommender.items.warm[trained]:
        if columns:
            raise ApiError(
                409,
                f"the model was trained on interactions of item {shown(name)}, which say more than "
                "columns; train again to change it (columns may be {} to bring it back)",
                "item_id",
            )
    else:
        # refuses what can't be encoded, before it is kept
        await service.workers.run(deadline, lambda: live_item(state, name, columns, unknown))
    created = state.items.row(name) is None
    await service.models.change(StoredItem(str(name), orjson.dumps(columns).decode()))
    state = service.state
    if state.items.row(name) is None:
        raise ApiError(409, f"item {shown(name)} was removed by another request in the meantime", "item_id")
    answer = item_answer(state, name)
    if unknown:
        answer["unknown_features"] = {column: values[0] for column, values in unknown.items()}
    return Json(answer, 201 if created else 200)


@router.delete(
    "/items/{item_id:rest}",
    status_code=204,
    responses=gives(ItemAnswer, 404, status=204) | {204: {"description": "The item is removed."}},
)
@needs("items")
async def delete_item(request: Request, item_id: ItemPath) -> Response:
    """Remove an item; it is no longer recommended."""
    service = service_of(request)
    name = service.state.items.trained.ids.native(item_id)
    if service.state.items.row(name) is None:
        raise ApiError(404, f"there is no item {shown(item_id)}", "item_id")
    await service.models.change(StoredItem(str(name), None))
    return Response(status_code=204)


def _new_item(state: State, given: str, longest: int) -> Id:
    ids = state.items.trained.ids
    name = new_id(ids, "item", given, longest, "item_id")
    if ids.whole and not (isinstance(name, int) and -(2**63) <= name < 2**63):
        raise ApiError(422, f"this model's item ids are whole numbers, got {shown(given)}", "item_id")
    return name


def item_answer(state: State, name: Id) -> dict[str, object]:
    """Return the `ItemAnswer` of a known item."""
    row = state.items.row(name)
    assert row is not None
    live = row >= state.items.n_trained
    return {
        "model": state.version,
        "item_id": state.items.id(row),
        "display": state.items.display(row),
        "trained": not live and bool(state.recommender.items.warm[row]),
        "live": live,
    }


@router.post("/admin/reload", response_class=Json, responses=gives(ReloadAnswer, 404, 409))
@needs("admin")
async def reload(request: Request, run: str | None = None) -> Json:
    """Load the bundles again, or that of one run, and serve them. Of an invalid one the old model stays."""
    service = service_of(request)
    runs = runs_of(service)
    if run is not None and run not in runs:
        raise ApiError(404, f"there is no model {shown(run)}; there are {', '.join(runs)}", "run")
    done: dict[str, dict[str, str]] = {}
    if service.link is not None:
        try:
            done = await service.link.reload(run)
        except BundleError as error:
            raise ApiError(
                409, f"the bundle was refused and the old model is kept: {_hidden(service, str(error))}"
            ) from None
    else:
        for name in runs if run is None else [run]:
            try:
                found = await reload_now(service, name)
                assert found is not None  # nothing was queued
            except TwoTowerError as error:
                reason = _hidden(service, str(error))
                of = "" if len(runs) == 1 else f" of {name}"
                so_far = f" (reloaded before: {', '.join(done)})" if done else ""
                raise ApiError(
                    409, f"the bundle{of} was refused and the old model is kept{so_far}: {reason}"
                ) from None
            done[name] = {"model": found[1], "previous": found[0]}
    request.state.audit = {"runs": done}
    first = done[service.models.first.run] if run is None else done[run]
    return Json({**first, "runs": done})


def _hidden(service: Service, reason: str) -> str:
    """Return a reason as whoever asks is told: not where on the disk it is."""
    shadow = (service.settings.shadow or {}).values()
    copies = [model.states.copy for model in service.models]
    for place in (*service.settings.bundles.values(), *shadow, *copies):
        reason = reason if place is None else reason.replace(str(place), "BUNDLE")
    return reason


def runs_of(service: Service) -> list[str]:
    """Return the names of all models, also of the shadow."""
    return [one["run"] for one in service.serving()]


async def reload_now(service: Service, run: str, *, queue: bool = False) -> tuple[str, str] | None:
    """Reload a model, count it, and log why it was refused; see `StateManager.reload`.

    Returns:
        The earlier version and the new one.
    """
    done: tuple[str, str] | None = None
    try:
        if service.shadow is not None and run == service.shadow.run:
            done = await service.shadow.reload()
        elif states := await service.models[run].states.reload(queue=queue):
            done = states[0].version, states[1].version
    except BundleError as error:
        service.metrics.reloads.labels(run, "refused").inc()
        log.error("bundle refused", extra={"fields": {"run": run, "reason": str(error)}})
        raise
    if done is not None:
        service.metrics.reloads.labels(run, "done").inc()
    return done
