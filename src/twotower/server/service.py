"""`Service`: the parts that every route works with."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from twotower.server.access import Access
from twotower.server.errors import ApiError
from twotower.server.keeper import Keeper
from twotower.server.metrics import Metrics
from twotower.server.settings import Limits, Settings
from twotower.server.state import State
from twotower.server.store import EventStore
from twotower.server.users import Users
from twotower.server.work import Workers

BODIES = 16 << 20
"""Bytes of large bodies that are held at once; what is parsed of them takes several times as much."""


@dataclass(eq=False)
class Service:
    """One server's parts.

    Attributes:
        settings: how it was started.
        store: of events and items.
        keeper: of the state.
        users: finds users.
        metrics: counts.
        access: says who may ask what.
        workers: do what takes long.
        started: whether there is a state to answer from.
        ready: whether it can answer; not while it starts or ends.
        running: requests in progress.
        held: bytes of large bodies in memory.
    """

    settings: Settings
    store: EventStore
    keeper: Keeper
    users: Users
    metrics: Metrics
    access: Access
    workers: Workers
    started: bool = False
    ready: bool = False
    running: int = 0
    held: int = 0

    @property
    def state(self) -> State:
        """What is served now."""
        return self.keeper.state

    @property
    def limits(self) -> Limits:
        """Of one request."""
        return self.settings.limits

    def admit(self) -> None:
        """Refuse a request that is too much at once.

        Raises:
            ApiError: as many as the limits allow are in progress.
        """
        if self.running > self.limits.requests_at_once:
            raise ApiError(
                503, "too many requests at once; try again in a moment", headers={"retry-after": "1"}
            )


@dataclass(eq=False)
class Large:
    """One large body that is held, and what all of them may take together."""

    service: Service
    size: int = 0

    def hold(self, size: int) -> None:
        """Say how many bytes of it are held now.

        Raises:
            ApiError: there are too many of all requests together.
        """
        service, more = self.service, size - self.size
        if more > 0 and service.held + more > max(BODIES, service.limits.body_bytes):
            raise ApiError(
                503, "too many large bodies at once; try again in a moment", headers={"retry-after": "1"}
            )
        service.held += more
        self.size = size


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    found: Service = request.app.state.service
    return found
