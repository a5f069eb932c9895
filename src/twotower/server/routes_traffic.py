"""Which models are served, and which users each of them gets."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from twotower.errors import ConfigError
from twotower.server.errors import ApiError
from twotower.server.openapi import Json, gives, takes
from twotower.server.request_body import body_of
from twotower.server.request_models import TrafficBody
from twotower.server.response_models import ModelsAnswer
from twotower.server.scoped_routes import needs, scoped_router
from twotower.server.service import Service, service_of

router = scoped_router("/v1", tags=["models"])


@router.get("/models", response_class=Json, responses=gives(ModelsAnswer))
@needs("read")
async def models(request: Request) -> Json:
    """List the models being served, and the share of the users that each answers."""
    return Json(_models(service_of(request)))


@router.post(
    "/admin/traffic",
    response_class=Json,
    responses=gives(ModelsAnswer, 400, 408, 413),
    openapi_extra=takes(TrafficBody),
)
@needs("admin")
async def traffic(request: Request) -> Json:
    """Change which share of the users each model answers, on all servers of the store at once.

    `{"shares": {"NAME": 100}}` sends everyone to one model (a rollback). It holds until it is changed again,
    or the server is started with another `--split`.
    """
    service = service_of(request)
    async with body_of(request, TrafficBody, service, service.workers.deadline()) as body:
        try:
            before = dict(service.models.traffic.shares)
            changed = await service.models.set_traffic(dict(body.shares))
            request.state.audit = {"previous": before, "shares": dict(changed.shares)}
        except ConfigError as error:
            raise ApiError(422, str(error), "shares") from None
    return Json(_models(service))


def _models(service: Service) -> dict[str, Any]:
    return {"models": service.serving(), "salt": service.models.traffic.salt}
