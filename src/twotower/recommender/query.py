"""`Query`: who asks for recommendations, and what they did before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from twotower.core.asked import Id, Ids, as_series, is_one
from twotower.core.reprs import html_of, shortened
from twotower.core.wording import count_of
from twotower.errors import ConfigError, DataError


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
        features: values of the columns of the users table, for a user that the model doesn't know. Columns
            left out are missing; ``{}`` stands for someone of whom nothing is known.

    Raises:
        ConfigError: nothing is given, or labels without a history.
        DataError: a part is not of its form: more than one user, nested lists, labels that are not as many as
            the items or not finite, features that are not a dict.
    """

    user: Id | None = None
    history: Ids | None = None
    labels: Sequence[float | None] | None = None
    features: Mapping[str, Any] | None = None

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
            self._set("user", as_series(self.user).item())
        unordered = isinstance(self.history, Set)
        if self.history is not None:
            self._set("history", _history(self.history))
        if self.labels is not None:
            if self.history is None:
                raise ConfigError("labels are those of the history, got labels alone; give the history too")
            if unordered:
                raise DataError(
                    "labels need a history in order, got a set; give the items and the labels as two lists"
                )
            self._set("labels", _labels(self.labels, len(self.items)))
        if self.features is not None:
            if not isinstance(self.features, Mapping):
                raise DataError(
                    "features are a dict such as {'age': 31}, got "
                    f"{type(self.features).__name__}; of a table make a query for each row: "
                    "[Query(features=row) for row in table.iter_rows(named=True)]"
                )
            self._set("features", {str(name): value for name, value in self.features.items()})

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
        values = [(name, getattr(self, name)) for name in ("user", "history", "labels", "features")]
        return [(name, shortened(value)) for name, value in values if value is not None]


def as_queries(asked: Any) -> list[Query] | None:
    """Return the queries of what `Recommender.recommend` was given, or None if it is ids alone.

    Ids among queries become queries of known users.
    """
    if isinstance(asked, Query):
        return [asked]
    if not isinstance(asked, Sequence) or not any(isinstance(one, Query) for one in asked):
        return None
    return [one if isinstance(one, Query) else Query(user=one) for one in asked]


def listed(asked: Any) -> Any:
    """Return an iterator's values as a list, so that they can be looked at twice; anything else as it is."""
    return list(asked) if isinstance(asked, Iterator) else asked


def _history(given: Ids) -> tuple[Any, ...]:
    if isinstance(given, Iterable) and any(isinstance(one, Query) for one in _peek(given)):
        raise DataError("history is a flat list of item ids, got a query within it")
    items = as_series(given, "history").to_list()
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
    try:
        values = [None if label is None else float(label) for label in labels]
    except (TypeError, ValueError, OverflowError):
        values = [math.nan]
    if len(values) != n_items or not all(value is None or math.isfinite(value) for value in values):
        raise DataError(
            f"there must be one finite label for each of the {count_of(n_items, 'item')} of the history, got "
            f"{shortened(labels)}; None stands for an item without one"
        )
    return tuple(values)
