"""What the page shows beside lists: users and their history, items, the map, the model; and health."""

from __future__ import annotations

from importlib.metadata import version
from itertools import islice
from typing import Annotated, Any

from fastapi import Path, Query, Request
from starlette.responses import Response

from twotower.core.lists import distinct_items
from twotower.data.verbs import verb_of
from twotower.recommender.query_context import QueryContext
from twotower.server.access import HEALTH
from twotower.server.counted import counted
from twotower.server.errors import ApiError
from twotower.server.inputs import new_id
from twotower.server.item_map import category_column, item_map, places
from twotower.server.merged_metrics import merged
from twotower.server.openapi import Json, gives, takes
from twotower.server.queries import encoded_users, item_rows, with_past
from twotower.server.ranking import known_item
from twotower.server.request_body import body_of
from twotower.server.request_models import PlacesBody
from twotower.server.response_models import (
    HealthAnswer,
    ItemAnswer,
    ItemsAnswer,
    MapAnswer,
    ModelAnswer,
    PlacesAnswer,
    UserAnswer,
    UsersAnswer,
)
from twotower.server.routes_change import item_answer
from twotower.server.scoped_routes import needs, scoped_router
from twotower.server.searching import found_items, found_users
from twotower.server.service import service_of
from twotower.server.state import State

router = scoped_router("/v1", tags=["look"])
about = scoped_router(tags=["health"])

Search = Annotated[str, Query(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=1000)]
AnyPath = Annotated[str, Path(max_length=4096, examples=["14"])]


@router.get("/model", response_class=Json, responses=gives(ModelAnswer))
@needs("read")
async def model(request: Request) -> Json:
    """Describe the model being served."""
    state = service_of(request).state
    recommender, schema = state.recommender, state.recommender.encoder.schema
    verb, read = verb_of(schema), QueryContext(recommender.towers)
    return Json(
        {
            "model": state.version,
            "twotower": version("twotower"),
            "users": len(state.users),
            "items": len(state.items),
            "live_items": len(state.items.live),
            "dim": recommender.model.dim,
            "label": schema.label,
            "ranks": state.ranks,
            "like": state.like,
            "user_features": {name: kind.name for name, kind in schema.users.items()},
            "item_features": {name: kind.name for name, kind in schema.items.items()},
            "context": {name: schema.context[name].name for name in read.columns} if read.read else {},
            "display": list(state.items.trained.types),
            "category": category_column(state.items.trained),
            "verb": {"base": verb.base, "past": verb.past, "alone": verb.alone},
            "loaded": state.loaded,
        }
    )


@router.get("/users", response_class=Json, responses=gives(UsersAnswer))
@needs("read")
async def users(request: Request, query: Search = "", limit: Limit = 20) -> Json:
    """Search users whose id begins with the query; an exact match comes first."""
    service = service_of(request)
    state, workers = service.state, service.workers
    return Json(await workers.run(workers.deadline(), lambda: found_users(state, query.strip(), limit)))


@router.get("/users/{user_id:rest}", response_class=Json, responses=gives(UserAnswer))
@needs("read")
async def user(request: Request, user_id: AnyPath, limit: Limit = 100) -> Json:
    """Show a user's history, which is empty for an unknown user."""
    service = service_of(request)
    state = service.state
    name = new_id(state.users, "user", user_id, service.limits.id_length, "user_id")
    row = state.users.index.get(name)
    events = counted(state, name, await service.events.past(name))
    history: list[dict[str, Any]] = []
    for event in islice(reversed(events), limit):
        place = state.items.row(event.item, gone=True)
        if place is not None:
            history.append(_happened(state, place, kind=event.kind, value=event.value, time=event.time))
    seen, labels = _trained_history(state, row)
    more = zip(seen[:limit], labels[:limit], strict=True)
    history += [_happened(state, place, value=label) for place, label in more]
    return Json(
        {
            "user_id": name,
            "known": row is not None,
            "seen": len(seen),
            "events": sum(event.kind == "interaction" for event in events),
            "history": history[:limit],
        }
    )


def _trained_history(state: State, row: int | None) -> tuple[list[int], list[float | None]]:
    if row is None:
        return [], []
    items, labels = distinct_items(state.recommender.seen, state.recommender.seen_label, row)
    seen = state.items.now(items).tolist()
    return seen, [None] * len(seen) if labels is None else labels.tolist()


def _happened(
    state: State, row: int, *, kind: str = "interaction", value: Any = None, time: Any = None
) -> dict[str, Any]:
    return {
        "item_id": state.items.id(row),
        "display": state.items.display(row),
        "kind": kind,
        "value": value,
        "time": time,
    }


@router.get("/items", response_class=Json, responses=gives(ItemsAnswer))
@needs("read")
async def items(request: Request, query: Search = "", limit: Limit = 20) -> Json:
    """Search items by id and by the text of their display columns, in any script and case.

    An item matches if every word of the query is in its id or its text. The item of this very id comes first,
    then titles that begin with the query, titles that contain it, and the others; of equal matches, the item
    with more interactions comes first.
    """
    service = service_of(request)
    state, workers = service.state, service.workers
    return Json(await workers.run(workers.deadline(), lambda: _items(state, query, limit)))


def _items(state: State, query: str, limit: int) -> dict[str, Any]:
    total, rows = found_items(state, query, limit)
    return {"total": total, "items": [item_answer(state, state.items.id(row)) for row in rows]}


@router.get("/items/{item_id:rest}", response_class=Json, responses=gives(ItemAnswer, 404))
@needs("read")
async def item(request: Request, item_id: AnyPath) -> Json:
    """Show an item."""
    state = service_of(request).state
    return Json(item_answer(state, state.items.id(known_item(state, item_id))))


@router.get("/map", response_class=Json, responses=gives(MapAnswer))
@needs("read")
async def map_(request: Request) -> Json:
    """Show the item vectors in two dimensions."""
    service = service_of(request)
    state, workers = service.state, service.workers
    found = await workers.run(workers.deadline(), lambda: item_map(state.items.trained))
    return Json({"model": state.version, **found})


@router.post(
    "/map",
    response_class=Json,
    responses=gives(PlacesAnswer, 400, 404, 408, 413),
    openapi_extra=takes(PlacesBody),
)
@needs("read")
async def map_places(request: Request) -> Json:
    """Find items and a user on the map, including items that a sampled map leaves out."""
    service = service_of(request)
    deadline = service.workers.deadline()
    async with body_of(request, PlacesBody, service, deadline) as body:
        state = service.state
        asked = [] if body.user is None else [("user", body.user)]
        who = await with_past(state, service.events, asked, service.limits)

        def work() -> dict[str, Any]:
            users = encoded_users(state, who, deadline)
            rows = item_rows(state, body.items, "items", strict=False).tolist()
            return places(state, rows, users[0].vector if users else None)

        return Json({"model": state.version, **await service.workers.run(deadline, work)})


@about.get("/healthz", response_class=Json, responses={200: {"model": HealthAnswer}})
@needs(HEALTH)
async def healthz() -> Json:
    """Say that the process is alive."""
    return Json({"status": "alive"})


@about.get("/readyz", response_class=Json, responses=gives(HealthAnswer))
@needs(HEALTH)
async def readyz(request: Request) -> Json:
    """Say whether requests can be answered: a model is loaded, and store and vector database work."""
    service = service_of(request)
    if not service.ready:
        raise ApiError(503, "not ready: starting or shutting down")
    await service.states.check()
    for model in service.models:
        await model.states.check_index()
    return Json({"status": "ready", "model": service.state.version})


@about.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
@needs("metrics")
async def metrics(request: Request) -> Response:
    """Show counters for Prometheus."""
    service = service_of(request)
    text: str | bytes = service.metrics_text()
    if service.link is not None:
        text = merged(await service.link.metrics())
    return Response(text, media_type="text/plain; version=0.0.4")


@about.get("/openapi.json", include_in_schema=False)
@needs("read")
async def openapi(request: Request) -> Json:
    """Describe the API."""
    root = request.scope.get("root_path", "").rstrip("/")
    return Json(request.app.openapi() | ({"servers": [{"url": root}]} if root else {}))
