"""Requests that delete users."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import Path, Request

from twotower.server.inputs import new_id
from twotower.server.openapi import Json, gives
from twotower.server.response_models import ForgetAnswer
from twotower.server.scoped_routes import needs, scoped_router
from twotower.server.service import service_of

log = logging.getLogger("twotower.server")

router = scoped_router("/v1", tags=["change"])

UserPath = Annotated[str, Path(max_length=4096, examples=["1003"])]


@router.delete("/users/{user_id:rest}", response_class=Json, responses=gives(ForgetAnswer))
@needs("admin")
async def forget_user(request: Request, user_id: UserPath) -> Json:
    """Delete a user: events, history and vector, in the store, in this server and in its bundles on disk.

    A record of the deletion stays, with a keyed hash of the id. Other servers of the same store leave the
    user out within a second. It is safe to ask again; someone unknown is deleted too.
    """
    service = service_of(request)
    name = str(new_id(service.state.users, "user", user_id, service.limits.id_length, "user_id"))
    service.exposures.forget(name)
    events = await service.store.forget(name)
    pending = [reason for model in service.models if (reason := await model.states.forget())]
    if service.shadow is not None and (reason := await service.shadow.forget()):
        pending.append(reason)
    said = "; ".join(pending)
    log.info("user deleted", extra={"fields": {"events": events, "bundle": said or "rewritten"}})
    return Json({"model": service.state.version, "events": events, "pending": said})
