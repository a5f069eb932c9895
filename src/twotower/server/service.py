"""`Service`: the parts that every route works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request

from twotower.server.access import Access
from twotower.server.audit import Audit
from twotower.server.drift import Drift
from twotower.server.errors import ApiError
from twotower.server.exposures import Exposures
from twotower.server.link import Link
from twotower.server.metrics import Metrics
from twotower.server.models import Models
from twotower.server.settings import Limits, Settings
from twotower.server.shadow import Shadow
from twotower.server.state import State
from twotower.server.state_manager import StateManager
from twotower.server.store import EventStore
from twotower.server.tracing import Tracing
from twotower.server.user_events import UserEvents
from twotower.server.workers import Workers


@dataclass(eq=False)
class Service:
    """One server's parts.

    Attributes:
        settings: how it was started.
        store: of events and items.
        models: have the states, and who gets which.
        events: of users.
        metrics: counts.
        access: says who may ask what.
        workers: do what takes long.
        audit: who changed what.
        tracing: makes spans; None without.
        exposures: who was answered by which model.
        drift: how far events are from what the first model was trained on.
        shadow: a model that is asked and never answers; None without one.
        link: to the other workers of this server; None if this process serves alone.
        started: whether there is a state to answer from.
        ready: whether it can answer; not while it starts or ends.
        leaving: whether it is about to end, and asks clients to close their connections.
        running: requests in progress.
        held: bytes of large bodies in memory.
    """

    settings: Settings
    store: EventStore
    models: Models
    events: UserEvents
    metrics: Metrics
    access: Access
    workers: Workers
    exposures: Exposures
    audit: Audit
    drift: Drift = field(default_factory=Drift)
    shadow: Shadow | None = None
    tracing: Tracing | None = None
    link: Link | None = None
    started: bool = False
    ready: bool = False
    leaving: bool = False
    running: int = 0
    held: int = 0

    @property
    def states(self) -> StateManager:
        """Has the state of the first model, and replaces it."""
        return self.models.first.states

    @property
    def state(self) -> State:
        """What the first model answers from now."""
        return self.states.state

    @property
    def limits(self) -> Limits:
        """Of one request."""
        return self.settings.limits

    def serving(self) -> list[dict[str, Any]]:
        """Return each model that is served, the shadow last, as `ModelsAnswer` has them."""
        shares = self.models.traffic.shares
        found: list[dict[str, Any]] = [
            {
                "run": model.run,
                "share": shares.get(model.run, 0.0),
                "shadow": False,
                "model": model.state.version,
                "items": len(model.state.items),
                "loaded": model.state.loaded,
            }
            for model in self.models
        ]
        if self.shadow is not None:
            found.append({"run": self.shadow.run, "share": 0.0, "shadow": True, **self.shadow.facts})
        return found

    def leave(self) -> None:
        """Be not ready from now on, as the server is about to end."""
        self.ready = False
        self.leaving = True

    def metrics_text(self) -> bytes:
        """Return what this process has counted, in the form of Prometheus."""
        self.metrics.serving(self.serving())
        self.metrics.drifting(self.drift.values())
        return self.metrics.text(in_flight=self.running, lost=self.exposures.lost)

    def admit(self) -> None:
        """Refuse a request if too many are in progress.

        Raises:
            ApiError: as many as the limits allow are in progress.
        """
        if self.running > self.limits.requests_at_once:
            raise ApiError(
                503, "too many requests at once; try again in a moment", headers={"retry-after": "1"}
            )


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    found: Service = request.app.state.service
    return found
