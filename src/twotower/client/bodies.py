"""What a request holds, as types for editors and type checkers; the server checks the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

Id = int | str
Scalar = bool | int | float | str
Moment = float | datetime
"""Seconds since 1970-01-01 UTC, or a time with a time zone."""


class UserQuery(TypedDict, total=False):
    """A known user, or a new one by features, by a history, or by both.

    `labels` and `times` have one value for each item of `history`. `context` and `at` say what is known of
    this request: device, page; when.
    """

    user: Id
    features: Mapping[str, Any]
    history: Sequence[Id]
    labels: Sequence[float | None]
    times: Sequence[Moment]
    context: Mapping[str, Any]
    at: Moment


class Range(TypedDict, total=False):
    """Numbers from `min` to `max`, both included."""

    min: float
    max: float


Filters = Mapping[str, Scalar | Sequence[Scalar] | Range]
"""Display column -> its value, one of several values, or a range."""


class Diversity(TypedDict, total=False):
    """Rules for whole lists: the settings of ``[diversity]``."""

    column: str
    at_most: int
    new_share: float
    new_below: int
    relevance: float
    candidates: int


class _EventOfSomeone(TypedDict):
    id: str
    user_id: Id
    item_id: Id


class Event(_EventOfSomeone, total=False):
    """One thing that a user did. An event that is sent twice under one id counts once."""

    kind: Literal["interaction", "skip"]
    value: float
    time: Moment
