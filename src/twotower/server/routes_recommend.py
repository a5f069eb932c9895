"""Lists, similar items and scores."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import Path, Query, Request

from twotower.retrieval import Candidates
from twotower.server import ranking
from twotower.server.answering import Answering
from twotower.server.errors import ApiError
from twotower.server.inputs import Id
from twotower.server.openapi import Json, gives, takes
from twotower.server.queries import IN_PATH, TOGETHER, with_past
from twotower.server.request_body import body_of
from twotower.server.request_models import RecommendBody, ScoreBody, SimilarBody, UserQuery
from twotower.server.response_models import (
    OneListAnswer,
    RecommendAnswer,
    ScoreAnswer,
    SimilarAnswer,
    UsersForAnswer,
)
from twotower.server.scoped_routes import needs, scoped_router
from twotower.server.service import Service, service_of
from twotower.server.state import State
from twotower.server.user_events import Past
from twotower.server.wanted import Wanted, wanted
from twotower.server.workers import Deadline

router = scoped_router("/v1", tags=["recommend"])

UserPath = Annotated[str, Path(max_length=4096, examples=["14"])]
ItemPath = Annotated[str, Path(max_length=4096, examples=["3649"])]
K = Annotated[int, Query(ge=1)]
Explain = Annotated[int, Query(ge=0)]
_FEW = 50
"""Of a list: up to here it is looked through at once."""


@router.post(
    "/recommend",
    response_class=Json,
    responses=gives(RecommendAnswer, 400, 404, 408, 413),
    openapi_extra=takes(RecommendBody),
)
@needs("read")
async def recommend(request: Request) -> Json:
    """Recommend to one or many users, known or new."""
    service, results = service_of(request), dict[int, orjson.Fragment]()
    deadline, size, degraded, unknown = service.workers.deadline(), 0, False, dict[str, Any]()
    versions, left_out, traffic = set[str](), 0, service.models.traffic
    async with body_of(request, RecommendBody, service, deadline) as body:
        limits = service.limits
        ranking.check_size(body.k, body.explain, limits, len(body.users))
        for model, places in service.models.grouped(map(_id_of, body.users), traffic).items():
            state, work = model.state, partial(_wanted, service, model.state, body)
            many = body.filters or len(body.allow or ()) + len(body.deny or ()) > _FEW
            want = await service.workers.run(deadline, work) if many else work()
            versions.add(state.version)
            left_out = max(left_out, want.unknown)
            answering = Answering(service, model.run, state, traffic)
            for start in range(0, len(places), TOGETHER):
                users = [(place, body.users[place]) for place in places[start : start + TOGETHER]]
                part = [(f"users.{place}", user) for place, user in users]
                asked = await with_past(state, service.events, part, limits)
                made = await answering.lists(asked, want, deadline)
                size, degraded = size + sum(map(len, made.texts)), degraded or bool(made.degraded)
                unknown = made.unknown | unknown
                if size > limits.answer_bytes:
                    raise ApiError(
                        422,
                        f"the answer would have more than {limits.answer_bytes} bytes; split the request",
                        "users",
                    )
                for (place, _), text in zip(users, made.texts, strict=True):
                    results[place] = orjson.Fragment(text)
                answering.shadow(request.state.request_id, [user for _, user in users], want, made, body)
    content = {
        "model": versions.pop() if len(versions) == 1 else None,
        "results": [results[place] for place in range(len(results))],
        "unknown": left_out,
    }
    return _answer(content | ({"unknown_features": unknown} if unknown else {}), degraded)


def _id_of(user: Id | UserQuery) -> Id | None:
    if not isinstance(user, UserQuery):
        return user
    return user.id if user.user is None else user.user


def _wanted(service: Service, state: State, body: RecommendBody) -> Wanted:
    return wanted(state, body, service.limits, _excludes(service, state))


@router.get("/recommend/{user_id:rest}", response_class=Json, responses=gives(OneListAnswer, 404))
@needs("read")
async def recommend_one(
    request: Request,
    user_id: UserPath,
    k: K = 10,
    exclude_seen: bool | None = None,
    explain: Explain = 0,
) -> Json:
    """Recommend to one user who is known or has events."""
    service = service_of(request)
    ranking.check_size(k, explain, service.limits)
    deadline, traffic = service.workers.deadline(), service.models.traffic
    model = service.models.of_user(user_id, traffic)
    state = model.state
    asked = await with_past(state, service.events, [(IN_PATH, user_id)], service.limits)
    excludes = _excludes(service, state) if exclude_seen is None else exclude_seen
    want = Wanted(k, excludes, explain=explain, diversity=state.recommender.diversity)
    answering = Answering(service, model.run, state, traffic)
    made = await answering.lists(asked, want, deadline)
    answering.shadow(request.state.request_id, [user_id], want, made)
    return _answer({"model": state.version, **orjson.loads(made.texts[0])}, bool(made.degraded))


def _excludes(service: Service, state: State) -> bool:
    """Return whether seen items are excluded if a request does not say."""
    given = service.settings.exclude_seen
    return state.recommender.exclude_seen if given is None else given


def _answer(content: dict[str, Any], degraded: bool) -> Json:
    """Return an answer, marked if it was made without the event store."""
    if not degraded:
        return Json(content)
    return Json({**content, "degraded": True}, headers={"x-twotower-degraded": "event-store"})


@router.get("/similar/{item_id:rest}", response_class=Json, responses=gives(SimilarAnswer, 404))
@needs("read")
async def similar(request: Request, item_id: ItemPath, k: K = 10) -> Json:
    """Find the items that the same users would like."""
    service = service_of(request)
    ranking.check_size(k, 0, service.limits)
    return await _similar(service, service.state, item_id, Wanted(k), service.workers.deadline())


@router.post(
    "/similar",
    response_class=Json,
    responses=gives(SimilarAnswer, 400, 404, 408, 413),
    openapi_extra=takes(SimilarBody),
)
@needs("read")
async def similar_among(request: Request) -> Json:
    """Find the items that the same users would like among those that meet filters."""
    service = service_of(request)
    deadline = service.workers.deadline()
    async with body_of(request, SimilarBody, service, deadline) as body:
        ranking.check_size(body.k, 0, service.limits)
        state = service.state
        want = await service.workers.run(deadline, lambda: wanted(state, body, service.limits))
        return await _similar(service, state, body.item_id, want, deadline)


async def _similar(service: Service, state: State, item: Id, want: Wanted, deadline: Deadline) -> Json:
    row = ranking.known_item(state, item)

    def work() -> Candidates:
        return state.items.similar(row, want.k, want.allow, want.deny)

    small = len(state.items) <= ranking.INLINE
    top = work() if small else await service.workers.run(deadline, work)
    items = ranking.listed(state, top, 0)
    name = state.items.trained.ids.native(item)
    return Json({"model": state.version, "item_id": name, "items": items, "unknown": want.unknown})


@router.get("/users-for/{item_id:rest}", response_class=Json, responses=gives(UsersForAnswer, 404))
@needs("read")
async def users_for(request: Request, item_id: ItemPath, k: K = 10) -> Json:
    """Find the trained users with the highest score for an item, of those who do not have it yet.

    What happened since training is not looked at.
    """
    service = service_of(request)
    ranking.check_size(k, 0, service.limits)
    state, workers = service.state, service.workers
    row = ranking.known_item(state, item_id)
    users = await workers.run(workers.deadline(), lambda: ranking.users_for(state, row, k))
    return Json({"model": state.version, "item_id": state.items.id(row), "users": users})


@router.post(
    "/score", response_class=Json, responses=gives(ScoreAnswer, 400, 408, 413), openapi_extra=takes(ScoreBody)
)
@needs("read")
async def score(request: Request) -> Json:
    """Score pairs of users and items."""
    service = service_of(request)
    deadline = service.workers.deadline()
    async with body_of(request, ScoreBody, service, deadline) as body:
        state, pasts = service.state, dict[Id, Past]()
        for number, pair in enumerate(body.pairs, 1):
            name = state.users.native(pair.user_id)
            if name not in pasts:
                pasts[name] = await service.events.past(name)
            if number % _FEW == 0:
                await asyncio.sleep(0)
        if len(body.pairs) <= _FEW and sum(len(past.events) for past in pasts.values()) <= 500:
            results = ranking.score(state, body, pasts, deadline)
        else:
            results = await service.workers.run(deadline, lambda: ranking.score(state, body, pasts, deadline))
    unknown = sum(one["score"] is None for one in results)
    return Json({"model": state.version, "results": results, "unknown": unknown})
