"""Routes that declare their scope. It is checked after routing, so no spelling of a path avoids it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.datastructures import QueryParams
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from twotower.errors import nearest
from twotower.server.access import HEALTH, OPEN, SCOPES
from twotower.server.errors import ApiError, shown

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def needs(scope: str) -> Callable[[Endpoint], Endpoint]:
    """Declare the scope of a route: one of `access.SCOPES`, or ``OPEN`` or ``HEALTH`` for no token."""
    assert scope in (*SCOPES, OPEN, HEALTH), scope

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.__dict__["needs"] = scope
        return endpoint

    return mark


class ScopedRoute(APIRoute):
    """A route that checks its scope before it runs."""

    @property
    def needs(self) -> str | None:
        """The declared scope; None is refused, see `check_declared`."""
        found: str | None = getattr(self.endpoint, "needs", None)
        return found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then answer."""
        needs = self.needs
        if needs is None:
            raise RuntimeError(f"the route {self.path} does not say what it needs")
        service = scope["app"].state.service
        scope["state"]["who"] = service.access.check(scope, needs)
        if needs != HEALTH:
            if not service.started:
                raise ApiError(
                    503,
                    "the application is not started; run its lifespan: a mounted application's own is "
                    "run by the one that it is mounted in",
                )
            if needs != OPEN:
                self._check_parameters(scope)
            service.admit()
        await super().handle(scope, receive, send)

    def _check_parameters(self, scope: Scope) -> None:
        """Refuse a parameter that is unknown or given twice, which would be ignored."""
        known, given = (
            [one.alias for one in self.dependant.query_params],
            QueryParams(scope.get("query_string", b"")),
        )
        for name in given:
            if name not in known:
                there = f"there are {', '.join(known)}" if known else "this path takes none"
                raise ApiError(
                    422, f"unknown parameter {shown(name)}; {there}.{nearest(name[:64], known)}", "query"
                )
        if twice := [name for name in given if len(given.getlist(name)) > 1]:
            raise ApiError(422, f"{twice[0]} may be given once", twice[0])


def scoped_router(prefix: str = "", **given: Any) -> APIRouter:
    """Return a router of `ScopedRoute`."""
    return APIRouter(prefix=prefix, route_class=ScopedRoute, **given)


def check_declared(routes: Iterable[BaseRoute]) -> None:
    """Refuse an application with a route that declares no scope.

    Raises:
        RuntimeError: there is one.
    """
    for route in routes:
        if not isinstance(route, ScopedRoute) or route.needs is None:
            raise RuntimeError(
                f"the route {getattr(route, 'path', route)!r} does not say what it needs; declare it with "
                "@needs(...) on a ScopedRoute"
            )
