"""A typed client of ``twotower serve``, for threads and for asyncio. Needs the extra ``client``.

Importing it brings neither torch, numba nor polars. Answers are pydantic models, those of the server.
"""

from __future__ import annotations

from twotower.client.bodies import Diversity, Event, Range, UserQuery
from twotower.client.clients import AsyncClient, Client
from twotower.client.errors import ApiError, Conflict, InvalidRequest, NotFound, Refused, Unavailable

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "Conflict",
    "Diversity",
    "Event",
    "InvalidRequest",
    "NotFound",
    "Range",
    "Refused",
    "Unavailable",
    "UserQuery",
]
