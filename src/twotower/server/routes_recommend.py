"""Lists, similar items and scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path, Query, Request

from twotower.server import ranking
from twotower.server.asking import Json, body_of, gives, takes
from twotower.server.guarded import guarded_router, needs
from twotower.server.models import (
    OneListAnswer,
    RecommendAnswer,
    RecommendBody,
    ScoreAnswer,
    ScoreBody,
    SimilarAnswer,
)
from twotower.server.ranking import Wanted
from twotower.server.service import Service, service_of
from twotower.server.users import User

router = guarded_router("/v1", tags=["recommend"])

UserPath = Annotated[str, Path(max_length=4096, examples=["14"])]
ItemPath = Annotated[str, Path(max_length=4096, examples=["3649"])]
K = Annotated[int, Query(ge=1)]
Explain = Annotated[int, Query(ge=0)]


@router.post(
    "/recommend",
    response_class=Json,
    responses=gives(RecommendAnswer, 400, 404, 408, 413),
    openapi_extra=takes(RecommendBody),
)
@needs("read")
async def recommend(request: Request) -> Json:
    """Recommend to one or many users, known ones and new ones."""
    service = service_of(request)
    body = await body_of(request, RecommendBody, service.limits)
    state = service.state
    want = ranking.wanted(state, body, service.limits)
    users = await ranking.find_all(state, service.users, body.users, service.limits)
    results = await ranking.recommend(state, users, want)
    _count(service, results)
    return _answer(service, users, {"model": state.version, "results": results})


@router.get("/recommend/{user_id:rest}", response_class=Json, responses=gives(OneListAnswer, 404))
@needs("read")
async def recommend_one(
    request: Request, user_id: UserPath, k: K = 10, exclude_seen: bool = True, explain: Explain = 0
) -> Json:
    """Recommend to one known user, or one that has events."""
    service = service_of(request)
    ranking.check_list(k, explain, service.limits)
    state = service.state
    users = await ranking.find_all(state, service.users, [user_id], service.limits)
    results = await ranking.recommend(state, users, Wanted(k, exclude_seen, explain=explain))
    _count(service, results)
    return _answer(service, users, {"model": state.version, **results[0]})


@router.get("/similar/{item_id:rest}", response_class=Json, responses=gives(SimilarAnswer, 404))
@needs("read")
async def similar(request: Request, item_id: ItemPath, k: K = 10) -> Json:
    """Find the items that the same users would like."""
    service = service_of(request)
    ranking.check_list(k, 0, service.limits)
    state = service.state
    items = await ranking.similar(state, item_id, k)
    return Json({"model": state.version, "item_id": state.items.trained.ids.native(item_id), "items": items})


@router.post(
    "/score", response_class=Json, responses=gives(ScoreAnswer, 400, 408, 413), openapi_extra=takes(ScoreBody)
)
@needs("read")
async def score(request: Request) -> Json:
    """Score pairs of users and items."""
    service = service_of(request)
    body = await body_of(request, ScoreBody, service.limits)
    state = service.state
    results = await ranking.score(state, service.users, body, service.limits)
    return Json({"model": state.version, "results": results})


def _answer(service: Service, users: Sequence[tuple[Any, User]], content: dict[str, Any]) -> Json:
    """Return an answer, marked if some of it was made without the event store."""
    degraded = sum(not user.complete for _, user in users)
    if not degraded:
        return Json(content)
    service.metrics.degraded.inc(degraded)
    return Json({**content, "degraded": True}, headers={"x-twotower-degraded": "event-store"})


def _count(service: Service, results: list[dict[str, Any]]) -> None:
    for result in results:
        if not result["known"]:
            service.metrics.cold_users.inc()
        if not result["items"]:
            service.metrics.empty_lists.inc()
