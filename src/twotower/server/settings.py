"""What a server is told when it starts: where the model is, who may ask, and how much at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """The most of everything that one request may ask for."""

    body_bytes: int = 4 << 20
    """Size of a request's body."""
    body_seconds: float = 20.0
    """Time in which a body must have come."""
    k: int = 1_000
    """Items of one list."""
    users: int = 1_000
    """Users of one request."""
    answer_items: int = 100_000
    """Items of all lists of one answer: users times k."""
    list_length: int = 10_000
    """Items of an ``items``, ``allow`` or ``deny`` list; pairs to score."""
    events: int = 10_000
    """Events of one request."""
    filters: int = 20
    """Columns of a filter, and values of each column's."""
    explain: int = 50
    """Items of a "because you watched"."""
    id_length: int = 256
    """Characters of an id that the model does not know."""
    features: int = 2_000
    """Features of a user or columns of an item."""
    requests_at_once: int = 512
    """Requests in progress; the next one is asked to come again."""


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        bundle: directory of the bundle.
        store: file or address of the event store.
        token: what every request to ``/v1`` must bear; None lets everyone ask.
        admin_token: what a request to ``/v1/admin`` must bear; None lets nobody ask.
        limits: of one request.
    """

    bundle: Path
    store: str
    token: str | None = None
    admin_token: str | None = None
    limits: Limits = field(default_factory=Limits)
