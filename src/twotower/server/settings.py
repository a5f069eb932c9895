"""Settings of a server: bundle, store, tokens, limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from twotower.errors import ConfigError, nearest
from twotower.server.access import Token


@dataclass(frozen=True)
class Limits:
    """Limits of one request: sizes and times."""

    body_bytes: int = 4 << 20
    """Size of a request's body."""
    body_seconds: float = 20.0
    """Time in which a body must have come."""
    k: int = 1_000
    """Items of one list."""
    users: int = 1_000
    """Users of one request."""
    answer_items: int = 100_000
    """Items of all lists of one answer and their reasons: users times k times (1 + explain)."""
    answer_bytes: int = 32 << 20
    """Size of an answer."""
    list_length: int = 10_000
    """Items of an ``items``, ``allow`` or ``deny`` list; pairs to score; values of a feature."""
    events: int = 10_000
    """Events of one request."""
    user_events: int = 10_000
    """Events of one user that count: the latest."""
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
    connections: int = 1_000
    """Open connections; past it, one without a request in progress is cut off."""
    head_bytes: int = 64 << 10
    """Size of a request's line and headers."""
    head_seconds: float = 10.0
    """Time in which they must have come."""
    idle_seconds: float = 30.0
    """How long a connection is kept open for another request."""
    write_seconds: float = 20.0
    """How long a client may read nothing of an answer."""
    waiting: int = 64
    """Pieces of work that may wait for a thread; the next one is asked to come again."""
    work_seconds: float = 30.0
    """How long a request may be worked on, once its body has come."""
    load_seconds: float = 300.0
    """Time in which a bundle must have been loaded; a reload is refused then, and the old model stays."""
    drain_seconds: float = 1.0
    """How long the server goes on answering after it was told to end, while /readyz returns 503, if there are
    open connections."""
    last_seconds: float = 20.0
    """How long requests under way may take after the server was told to end."""

    @classmethod
    def parse(cls, given: Sequence[str]) -> Limits:
        """Return the default limits, updated with ``name=value`` texts.

        Args:
            given: ``name=value`` each; a later one of a name counts.

        Raises:
            ConfigError: no such name, or a value that is no number above 0, whole where it counts something.
        """
        kinds = {field.name: int if isinstance(field.default, int) else float for field in fields(cls)}
        changed: dict[str, Any] = {}
        for one in given:
            name, equals, text = (part.strip() for part in one.partition("="))
            if not equals:
                raise ConfigError(f"--limit takes NAME=VALUE, got {one!r}; write for example k=200")
            if name not in kinds:
                hint = nearest(name, kinds) or f" There are {', '.join(kinds)}."
                raise ConfigError(f"there is no limit {name!r}.{hint}")
            what = "whole number" if kinds[name] is int else "number"
            try:
                changed[name] = kinds[name](text)
            except ValueError:
                raise ConfigError(f"the limit {name} must be a {what} above 0, got {text!r}") from None
            if not 0 < changed[name] < math.inf:
                raise ConfigError(f"the limit {name} must be a {what} above 0, got {text}")
        return cls(**changed)


@dataclass(frozen=True)
class Settings:
    """How to serve.

    Attributes:
        bundle: directory of the bundle.
        store: file or address of the event store.
        token: a token for everything but ``admin``.
        admin_token: a token for ``admin`` alone.
        without_store: what trained users get while the event store does not answer: "refuse" (503), or
            "serve" their lists as trained, without what happened since, and marked so.
        index: address of the vector database to search in; None for the index in the bundle, if any.
        others: further models by name, beside that of ``bundle``; each bundle's directory.
        name: of the model of ``bundle``; None for the name of its run's directory.
        split: percent of the users for each model by name; needed with others.
        salt: changes who gets which model, see `Traffic`.
        shadow: one more model by name, which is asked and never answers.
        keep: seconds after which events are removed from the store; None for never.
        audit_log: file of who changed what; None for the server's log.
        traces: address of an OTLP/HTTP receiver of traces; None for none.
        exclude_seen: whether users are not given what they have seen, where a request says nothing; None for
            what the model was trained with.
        limits: of one request.
        tokens: further tokens, each with its scopes.
        token_file: a file of further tokens, see `access.read_tokens`.
        hosts: names that the server is known by, beside localhost and addresses in numbers; "*" for all.
        open: let clients on other machines ask without a token.
    """

    bundle: Path | str
    store: str
    token: str | None = field(default=None, repr=False)
    admin_token: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    tokens: Sequence[Token] = ()
    token_file: Path | None = None
    hosts: Sequence[str] = ()
    open: bool = False
    without_store: Literal["refuse", "serve"] = "refuse"
    exclude_seen: bool | None = None
    index: str | None = None
    keep: float | None = None
    others: Mapping[str, Path | str] = field(default_factory=dict)
    name: str | None = None
    split: Mapping[str, float] | None = None
    salt: str = ""
    shadow: Mapping[str, Path | str] | None = None
    audit_log: Path | None = None
    traces: str | None = None

    def __post_init__(self) -> None:
        if (self.split is None) != (not self.others):
            raise ConfigError(
                "several models need a split, and a split several models; give the share of each, such as "
                "--split 90/10"
            )
        if self.salt and not self.others:
            raise ConfigError(f"--salt needs several models and --split, got {self.salt!r}; leave it out")
        names = [self.main, *self.others, *(self.shadow or {})]
        if len(set(names)) < len(names):
            raise ConfigError(f"models must have different names, got {', '.join(names)}; rename a run")
        if self.shadow is not None and len(self.shadow) != 1:
            raise ConfigError(f"there can be one shadow, got {len(self.shadow)}")

    @property
    def main(self) -> str:
        """Name of the first model."""
        path = Path(self.bundle)
        return self.name or (path.parent if path.name == "bundle" else path).absolute().name

    @property
    def bundles(self) -> dict[str, Path | str]:
        """The models that answer, by name."""
        return {self.main: self.bundle, **self.others}

    @property
    def shares(self) -> Mapping[str, float]:
        """Percent of the users for each model by name."""
        return {self.main: 100.0} if self.split is None else self.split
