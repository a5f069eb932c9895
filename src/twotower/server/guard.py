"""`Guard`: what happens around every request: its id, who may ask, how many at once, counting and logging."""

from __future__ import annotations

import hmac
import logging
import os
import re
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twotower.server.errors import ApiError, error_response, unavailable
from twotower.server.metrics import Metrics
from twotower.server.settings import Settings
from twotower.server.store import StoreUnavailable

log = logging.getLogger("twotower.server")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_ADMIN = "/v1/admin/"
_ALWAYS = ("/healthz", "/readyz", "/metrics")
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
"""Headers of every answer: nothing is loaded from elsewhere, and no other page may show ours."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else os.urandom(8).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {
                    **message,
                    "headers": [*message["headers"], (b"x-request-id", request_id.encode()), *SECURITY],
                }
            await send(message)

        self._running += 1
        try:
            self._admit(scope, headers)
            await self._app(scope, receive, sending)
        except Exception as error:
            if status:  # the answer has begun, and can't be another one
                raise
            response = error_response(_as_api_error(error, request_id), request_id)
            await response(scope, receive, sending)
        finally:
            self._running -= 1
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "unknown")
            method = scope["method"] if route != "unknown" else "any"
            self._metrics.answered(route, method, status, seconds)
            if log.isEnabledFor(logging.INFO):
                fields = {
                    "request_id": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1e3, 3),
                }
                log.info("request", extra={"fields": fields})

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse who may not ask, who comes from another site's page, and what is too much at once."""
        path, settings = scope["path"], self._settings
        if self._running > settings.limits.requests_at_once and path not in _ALWAYS:
            raise ApiError(
                503, "too many requests at once; ask again in a moment", headers={"retry-after": "1"}
            )
        length = headers.get("content-length", "")
        if length.isdigit() and (len(length) > 18 or int(length) > settings.limits.body_bytes):
            raise too_large(settings.limits.body_bytes)
        if not path.startswith("/v1/"):
            return
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise ApiError(403, "requests from pages of other sites are refused")
        if path.startswith(_ADMIN):
            if settings.admin_token is None:
                raise ApiError(
                    403, "administration is off; start the server with TWOTOWER_ADMIN_TOKEN set to allow it"
                )
            _check_token(headers, settings.admin_token, "TWOTOWER_ADMIN_TOKEN")
        elif settings.token is not None:
            _check_token(headers, settings.token, "TWOTOWER_TOKEN")


def too_large(most: int) -> ApiError:
    """Return the error of a body that is too large."""
    return ApiError(413, f"a body may have at most {most} bytes; send less at once")


def _check_token(headers: Headers, token: str, name: str) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # Of equal time whatever is given, so that nothing can be learnt from how long it takes.
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise ApiError(
            401,
            f"this request needs the header 'Authorization: Bearer TOKEN' with the server's {name}",
            headers={"www-authenticate": "Bearer"},
        )


def _as_api_error(error: Exception, request_id: str) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StoreUnavailable):
        log.error("store unavailable", extra={"fields": {"request_id": request_id, "reason": str(error)}})
        return unavailable()
    log.error("internal error", exc_info=error, extra={"fields": {"request_id": request_id}})
    return ApiError(500, "internal error; the server's log has more under this request_id")
