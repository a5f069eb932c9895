"""The OpenAPI of the routes, and answers as JSON.

Bodies are checked by pydantic straight from what orjson parsed, and answers written by orjson straight from
plain values, which takes a fraction of the time that FastAPI's own way does. So they are added to the OpenAPI
here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import JSONResponse

from twotower.server.access import ADMIN, HEALTH, Access
from twotower.server.response_models import ErrorAnswer
from twotower.server.scoped_routes import ScopedRoute


class _Rest(Convertor[str]):
    """The rest of a path, whatever letters an id has: Starlette's own stops at the end of a line."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _Rest())

REFERENCE = "#/components/schemas/{model}"


class Json(JSONResponse):
    """An answer of plain values."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        return orjson.dumps(content)


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Return a route's ``openapi_extra`` for its body."""
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def gives(model: type[BaseModel], *errors: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return a route's ``responses``: its own and the errors of all routes."""
    found: dict[int | str, dict[str, Any]] = {status: {"model": model}}
    for code in sorted({401, 403, 422, 500, 503, *errors}):
        found[code] = {"model": ErrorAnswer, "description": _MEANING[code]}
    return found


_MEANING = {
    400: "The body is not JSON.",
    401: "The token is missing or wrong.",
    403: "Not allowed.",
    404: "There is no such user or item.",
    408: "The body was sent too slowly.",
    409: "In conflict with the current state.",
    413: "The body is too large.",
    422: "The request is wrong; the message says what to fix.",
    500: "A server error.",
    503: "Overloaded or not ready; try again in a moment.",
}


def describe(app: FastAPI, access: Access, bodies: Iterable[type[BaseModel]], description: str) -> None:
    """Add the bodies, and the scope that each route needs, to the OpenAPI of the application."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=description, routes=app.routes
            )
            _, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=REFERENCE)
            document["components"].setdefault("schemas", {}).update(schemas["$defs"])
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            scopes = {
                (route.path_format, method.lower()): route.needs
                for route in app.routes
                if isinstance(route, ScopedRoute)
                for method in route.methods or ()
            }
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    scope = scopes[path, method]
                    operation["security"] = [] if scope == HEALTH else [{"token": [scope]}]
                    if access.tokenless and scope not in (HEALTH, ADMIN):
                        operation["security"].append({})
                    operation["responses"].pop("200", None) if "204" in operation["responses"] else None
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
