"""`RequestMiddleware`: what happens around every request: its id, its size, counting and logging."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twotower.errors import IndexUnavailable
from twotower.server.audit import CHANGING
from twotower.server.errors import ApiError, error_response, no_index, unavailable
from twotower.server.scoped_routes import ScopedRoute
from twotower.server.service import Service
from twotower.server.store import StoreUnavailable
from twotower.server.tracing import Tracing, trace_of

log = logging.getLogger("twotower.server")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
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


class RequestMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, tracing = Headers(scope=scope), self._service.tracing
        if tracing is None:
            await self._answer(scope, receive, send, headers, None)
            return
        with tracing.request(scope["method"], scope["path"], headers) as span:
            await self._answer(scope, receive, send, headers, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: Headers, span: Any) -> None:
        start = time.perf_counter()
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else os.urandom(8).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-request-id", request_id.encode()), *SECURITY]
                if self._service.leaving:
                    own.append((b"connection", b"close"))
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        self._service.running += 1
        try:
            self._check_length(headers)
            await self._app(scope, receive, sending)
        except Exception as error:
            if status:  # the answer has begun, and can't be another one
                raise
            response = error_response(_as_api_error(error, request_id), request_id)
            await response(scope, receive, sending)
        finally:
            self._service.running -= 1
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path_format", "unknown")
            method = scope["method"] if route != "unknown" and status != 405 else "any"
            self._service.metrics.answered(route, method, status, seconds)
            self._audit(scope, request_id, status)
            trace = trace_of(headers.get("traceparent", ""))
            if span is not None:
                trace = Tracing.ended(span, method, route, status, request_id)
            if log.isEnabledFor(logging.INFO):
                fields = {
                    "request_id": request_id,
                    **({"trace_id": trace} if trace else {}),
                    "method": method,
                    "route": route,
                    "status": status,
                    "ms": round(seconds * 1e3, 3),
                }
                log.info("request", extra={"fields": fields})

    def _audit(self, scope: Scope, request_id: str, status: int) -> None:
        """Note a request for a change, done or refused."""
        route, state = scope.get("route"), scope["state"]
        if not isinstance(route, ScopedRoute) or route.needs not in CHANGING:
            return
        client = scope.get("client")
        self._service.audit.write(
            f"{scope['method']} {route.path_format}",
            state.get("who", "refused"),
            client=None if client is None else client[0],
            request_id=request_id,
            status=status,
            # not who: somebody who was deleted must be nowhere
            **{name: of for name, of in scope.get("path_params", {}).items() if name != "user_id"},
            **state.get("audit", {}),
        )

    def _check_length(self, headers: Headers) -> None:
        most = self._service.limits.body_bytes
        length = headers.get("content-length", "")
        if length.isdigit() and (len(length) > 18 or int(length) > most):
            raise too_large(most)


def too_large(most: int) -> ApiError:
    """Return the error of a body that is too large."""
    return ApiError(413, f"a body may have at most {most} bytes; send less at once")


def _as_api_error(error: Exception, request_id: str) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StoreUnavailable):
        log.error("store unavailable", extra={"fields": {"request_id": request_id, "reason": str(error)}})
        return unavailable()
    if isinstance(error, IndexUnavailable):
        log.error("index unavailable", extra={"fields": {"request_id": request_id, "reason": str(error)}})
        return no_index()
    log.error("internal error", exc_info=error, extra={"fields": {"request_id": request_id}})
    return ApiError(500, "internal error; the server's log has more under this request_id")
