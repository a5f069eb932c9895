"""Requests that delete users."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

from fastapi import Path as InPath
from fastapi import Request

from twotower.errors import BundleError
from twotower.server.errors import ApiError
from twotower.server.inputs import new_id
from twotower.server.link import Link
from twotower.server.openapi import Json, gives
from twotower.server.response_models import ForgetAnswer
from twotower.server.scoped_routes import needs, scoped_router
from twotower.server.service import service_of

log = logging.getLogger("twotower.server")

_TRIES, _PAUSE = 60, 0.5
router = scoped_router("/v1", tags=["change"])

UserPath = Annotated[str, InPath(max_length=4096, examples=["1003"])]


async def _reload_workers(link: Link) -> str:
    """Let all workers load the bundles again, whose copies still have the user; return why not, if so."""
    for _ in range(_TRIES):
        try:
            await link.reload(None)
        except BundleError as error:
            return f"the workers still have the user's row in memory, which is not served: {error}"
        except ApiError:  # another reload is under way, perhaps of the bundle before
            await asyncio.sleep(_PAUSE)
        else:
            return ""
    return "the workers still have the user's row in memory, which is not served: reloads don't end"


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
    request.state.audit = {"events": events}
    said = "; ".join(pending)
    if service.link is not None and not said:
        said = await _reload_workers(service.link)
    log.info("user deleted", extra={"fields": {"events": events, "bundle": said or "rewritten"}})
    return Json({"model": service.state.version, "events": events, "pending": said})
