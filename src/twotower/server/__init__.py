"""The server: HTTP to `Recommender`, learning from events as they come. Needs the extra ``serve``.

A request takes the current `State` once, an immutable value, so that a new model or item is swapped in
between requests and never within one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twotower.errors import MissingExtraError

if TYPE_CHECKING:
    from twotower.server.access import Access, Token, exposed, names_of
    from twotower.server.app import create_app
    from twotower.server.serving import serve
    from twotower.server.settings import Limits, Settings

__all__ = [
    "Access",
    "Limits",
    "Settings",
    "Token",
    "create_app",
    "exposed",
    "names_of",
    "serve",
]

_HOME = {
    "Access": "access",
    "Limits": "settings",
    "Settings": "settings",
    "Token": "access",
    "create_app": "app",
    "exposed": "access",
    "names_of": "access",
    "serve": "serving",
}
_EXTRA = ("fastapi", "starlette", "uvicorn", "orjson", "prometheus_client")


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        raise MissingExtraError(
            f"serving needs the package {error.name}, which is not installed; install it with: "
            "pip install 'twotower[serve]'"
        ) from None
