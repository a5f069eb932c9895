"""`Query`: who asks for recommendations, and what they did before."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from twotower.core.asked import Id, Ids, as_values, is_one
from twotower.core.reprs import html_of, shortened
from twotower.core.wording import count_of
from twotower.errors import ConfigError, DataError

Time = float | datetime
"""Seconds since 1970-01-01 UTC, or a datetime with a time zone."""
FARTHEST = 1e11
"""Seconds beyond which a time is no time of a person: the year 5138."""
PARTS = ("user", "history", "labels", "times", "features", "context", "at")
"""What a query consists of."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Query:
    """Who asks for recommendations, and what they did before.

    >>> Query(history=[3649, 2267], features={"age": 31})
    Query(history=[3649, 2267], features={'age': 31})

    A known user is given by ``user`` and may bring a ``history`` of what happened since training. Someone new
    is given by ``history``, by ``features`` or by both; an id of theirs may come along.

    Attributes:
        user: id of the user, or None.
        history: ids of items that the user liked or used. None for no history; for a known user the training
            set's interactions count in any case.
        labels: the label of each item of ``history`` in its own units; None, or a None among them, where it
            is only known that the user liked the item.
        times: when each item of ``history`` happened, in seconds since 1970-01-01 UTC or as a datetime with a
            time zone; kept as seconds. Items of one time stay in the order given, after those that the
            training set has of that time; in training too they are in the order of its rows.
        features: values of the columns of the users table, for a user that the model doesn't know. Columns
            left out are missing, with a `TwoTowerWarning`; ``{}`` stands for someone of whom nothing is
            known.
        context: values of the columns of ``[schema.context]`` (device, page, surface) at this request. Those
            left out are missing, with a `TwoTowerWarning`. The time of a request is ``at``.
        at: when the query is asked, a time as in ``times``; None for now. A tower that reads histories in the
            order of time reads what was strictly before, of the training set too. A model whose context has
            the timestamp reads the hour or whatever its kind says. Vectors that don't depend on time are the
            same at any.

    Raises:
        ConfigError: nothing is given, or labels or times without a history.
        DataError: a part is not of its form: more than one user, nested lists, labels or times that are not
            as many as the items or not finite, features or a context that are not a dict; or an item of the
            history did not happen before ``at``.
    """

    user: Id | None = None
    history: Ids | None = None
    labels: Sequence[float | None] | None = None
    times: Sequence[Time] | None = None
    features: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    at: Time | None = None

    def __post_init__(self) -> None:
        if self.user is None and self.history is None and self.features is None:
            raise ConfigError(
                "a query needs a user, a history or features, got none of them; for someone of whom nothing "
                "is known give features={}"
            )
        if self.user is not None:
            if not is_one(self.user):
                raise DataError(
                    f"a query has one user, got {shortened(self.user)}; give recommend a list of queries"
                )
            self._set("user", as_values(self.user)[0])
        unordered = isinstance(self.history, Set)
        if self.history is not None:
            self._set("history", _history(self.history))
        for name, read in (("labels", _labels), ("times", _times)):
            given = getattr(self, name)
            if given is None:
                continue
            if self.history is None:
                raise ConfigError(f"{name} are those of the history, got {name} alone; give the history too")
            if unordered:
                raise DataError(
                    f"{name} need a history in order, got a set; give the items and the {name} as two lists"
                )
            self._set(name, read(given, len(self.items)))
        if self.at is not None:
            self._set("at", _seconds(self.at))
            check_before(self.times or (), self.at)  # type: ignore[arg-type]
        for part, example in (("features", "{'age': 31}"), ("context", "{'device': 'phone'}")):
            given = getattr(self, part)
            if given is None:
                continue
            if not isinstance(given, Mapping):
                raise DataError(
                    f"{part} are a dict such as {example}, got {type(given).__name__}; of a table make a "
                    f"query for each row: [Query({part}=row) for row in table.iter_rows(named=True)]"
                )
            self._set(part, {str(name): value for name, value in given.items()})

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def items(self) -> tuple[Any, ...]:
        """The ids of the history, empty without one."""
        return () if self.history is None else tuple(self.history)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"Query({', '.join(f'{name}={value}' for name, value in self._given())})"

    def _repr_html_(self) -> str:
        return html_of("Query", dict(self._given()))

    def _given(self) -> list[tuple[str, str]]:
        values = [(name, getattr(self, name)) for name in PARTS]
        return [(name, shortened(value)) for name, value in values if value is not None]


def check_before(times: Iterable[float], at: float) -> None:
    """Check that all of a history happened before the query is asked; both in seconds.

    Raises:
        DataError: something did not.
    """
    late = next((time for time in times if time >= at), None)
    if late is not None:
        raise DataError(
            f"a history holds what came before its query, which is asked at {at}; got an item at {late}; "
            "leave out what came at that time or later"
        )


def _history(given: Ids) -> tuple[Any, ...]:
    if isinstance(given, Iterable) and any(isinstance(one, Query) for one in _peek(given)):
        raise DataError("history is a flat list of item ids, got a query within it")
    items = as_values(given, "history")
    if None in items:
        raise DataError(f"history holds item ids, got None at place {items.index(None)}; leave it out")
    return tuple(items)


def _peek(given: Iterable[Any]) -> Iterable[Any]:
    return given if isinstance(given, list | tuple) else ()


def _labels(given: Any, n_items: int) -> tuple[float | None, ...]:
    if isinstance(given, Mapping | Set):
        raise DataError(
            f"labels are a list in the order of the history, got {type(given).__name__}; of a dict of items "
            "and labels give history=list(it) and labels=list(it.values())"
        )
    labels = [given] if is_one(given) else list(given)
    values = [None if label is None else _number(label) for label in labels]
    if len(values) != n_items or not all(value is None or math.isfinite(value) for value in values):
        raise DataError(
            f"there must be one finite label for each of the {count_of(n_items, 'item')} of the history, got "
            f"{shortened(labels)}; None stands for an item without one"
        )
    return tuple(values)


def _times(given: Any, n_items: int) -> tuple[float, ...]:
    if isinstance(given, Mapping | Set):
        raise DataError(f"times are a list in the order of the history, got {type(given).__name__}")
    times = [given] if is_one(given) else list(given)
    if len(times) != n_items:
        raise DataError(
            f"there must be one time for each of the {count_of(n_items, 'item')} of the history, got "
            f"{shortened(times)}"
        )
    return tuple(map(_seconds, times))


def _number(given: Any) -> float:
    """Return a number, nan for what is none, such as text or a truth value."""
    try:
        return math.nan if isinstance(given, bool | np.bool_ | str | bytes) else float(given)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _seconds(time: Any) -> float:
    """Return a time as seconds since 1970-01-01 UTC."""
    if isinstance(time, str):
        with contextlib.suppress(ValueError):
            time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise DataError(f"a time needs a time zone, got {time!r}; give it tzinfo=timezone.utc, say")
        return time.timestamp()
    seconds = _number(time)
    if not math.isfinite(seconds):
        raise DataError(
            "a time is a finite number of seconds since 1970-01-01 UTC, or a datetime or ISO 8601 text with "
            "a time zone, such as 2024-03-01T20:00:00Z, got "
            f"{shortened(time)}"
        )
    check_seconds(seconds)
    return seconds


def check_seconds(seconds: float) -> None:
    """Raise `DataError` for a time that can only be in another unit: more than 3,000 years away.

    Columns of data are read by their size instead, as all of their values show it.
    """
    if abs(seconds) > FARTHEST:
        raise DataError(
            f"a time is in seconds since 1970-01-01 UTC, got {seconds:.0f}, which looks like milliseconds; "
            "divide by 1000"
        )
