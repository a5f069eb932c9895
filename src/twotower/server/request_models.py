"""Bodies of requests: they are checked against these models, and the OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from twotower.config.diversity import DiversityConfig
from twotower.errors import DataError
from twotower.recommender.query import check_before, check_seconds
from twotower.server.bounds import FIRST, at_most, first_unknown, flat
from twotower.server.ids import Id

Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]


def _seconds(given: float | datetime) -> float:
    if not isinstance(given, datetime):
        try:
            check_seconds(given)
        except DataError as error:
            raise ValueError(str(error)) from None
        return given
    if given.tzinfo is None:
        raise ValueError("a time as text needs a time zone, such as Z")
    return given.timestamp()


Moment = Annotated[Number | datetime, AfterValidator(_seconds)]
"""Seconds since 1970-01-01 UTC."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        return first_unknown(given, cls.model_fields)


class Range(_Body):
    """Numbers from ``min`` to ``max``, both included."""

    min: Number | None = None
    max: Number | None = None


Scalar = bool | int | float | str

Choice = Annotated[
    Annotated[Scalar, Tag("value")]
    | Annotated[list[Scalar], FIRST, at_most("filters", "values"), Tag("values")]
    | Annotated[Range, Tag("range")],
    Discriminator(lambda given: {dict: "range", Range: "range", list: "values"}.get(type(given), "value")),
]

Items = Annotated[list[Id], FIRST, at_most("list_length", "items")]


class UserQuery(_Body):
    """A known user, or a new one by features, by a history, or by both."""

    user: Id | None = Field(None, description="Needed unless features or a history are given.")
    features: Annotated[dict[str, Any], flat()] | None = Field(
        None,
        description="Columns of the users table; those left out are missing. {} where nothing is known.",
    )
    history: Items | None = Field(None, description="Items that the user liked.")
    labels: Annotated[list[Number | None], FIRST, at_most("list_length", "labels")] | None = Field(
        None,
        description="The label of each item of the history; null for an item that is only known to be liked.",
    )
    times: Annotated[list[Moment], FIRST, at_most("list_length", "times")] | None = Field(
        None,
        description="When each item of the history was, in seconds since 1970-01-01 UTC, or ISO 8601 with "
        "a time zone.",
    )
    context: Annotated[dict[str, Any], flat()] | None = Field(
        None,
        description="Columns of [schema.context] (device, page) at this request; those left out are missing.",
    )
    at: Moment | None = Field(
        None,
        description="When it is asked; null for now. A model that reads histories in the order of time reads "
        "what was strictly before.",
    )
    id: Id | None = Field(None, description="Old name of user.", json_schema_extra={"deprecated": True})
    items: Items | None = Field(
        None, description="Old name of history.", json_schema_extra={"deprecated": True}
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for now, old in (("user", "id"), ("history", "items")):
            if getattr(self, now) is not None and getattr(self, old) is not None:
                raise ValueError(f"'{old}' is the old name of '{now}'; give '{now}' alone")
        items = self.items if self.history is None else self.history
        if self.labels is not None and (items is None or len(items) != len(self.labels)):
            raise ValueError(
                f"there must be one label for each item of the history; got {len(self.labels)} for "
                f"{len(items or ())}; null stands for an item without one"
            )
        if self.times is not None and (items is None or len(items) != len(self.times)):
            raise ValueError(
                f"there must be one time for each item of the history; got {len(self.times)} for "
                f"{len(items or ())}"
            )
        if self.at is not None:
            try:
                check_before(self.times or (), self.at)  # type: ignore[arg-type]  # seconds, by their validator
            except DataError as error:
                raise ValueError(str(error)) from None
        return self


Asked = Annotated[
    Annotated[Id, Tag("id")] | Annotated[UserQuery, Tag("query")],
    Discriminator(lambda given: "query" if isinstance(given, dict | UserQuery) else "id"),
]

_STRICT = "Whether an unknown id is an error."


class _ListBody(_Body):
    k: int = Field(10, ge=1, strict=True)
    allow: Annotated[Items, Field(min_length=1)] | None = Field(None, description="Only these items.")
    deny: Items | None = Field(None, description="None of these items.")
    strict: bool = Field(False, strict=True, description=_STRICT)
    filters: Annotated[dict[str, Choice], FIRST, at_most("filters", "columns")] | None = Field(
        None,
        description="Only items whose display column has the value, one of the values, or lies in the range.",
    )


class RecommendBody(_ListBody):
    """Whom to recommend to, how much, and what may be recommended."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"users": [14], "k": 10},
                {"users": [{"features": {}, "history": [3649, 2267]}], "k": 5, "explain": 3},
            ]
        }
    )

    users: Annotated[list[Asked], FIRST, at_most("users", "users")] = Field(min_length=1)
    exclude_seen: bool | None = Field(
        None,
        strict=True,
        description="Leave out what a user has seen, in training or since; null for the server's setting, "
        "by default that of the training.",
    )
    explain: int = Field(0, ge=0, strict=True, description="How many of the user's items to name as reasons.")
    diversity: DiversityConfig | Literal[False] | None = Field(
        None, description="Rules for each list; null for those of the model, false for none."
    )


class SimilarBody(_ListBody):
    """An item, how many similar ones, and which ones may be found."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": 3649, "deny": [2267], "k": 5}]})

    item_id: Id


class Pair(_Body):
    """A user and an item."""

    user_id: Id
    item_id: Id


class ScoreBody(_Body):
    """Pairs to score."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pairs": [{"user_id": 14, "item_id": 3649}]}]})

    pairs: Annotated[list[Pair], FIRST, at_most("list_length", "pairs")] = Field(min_length=1)
    strict: bool = Field(False, strict=True, description=_STRICT)


class EventBody(_Body):
    """One thing that a user did."""

    id: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=256)] = Field(
        description="Your id of the event. An event that is sent twice under one id counts once."
    )
    user_id: Id
    item_id: Id
    kind: Literal["interaction", "skip"] = Field(
        "interaction", description="skip: shown and refused; not recommended again."
    )
    value: Number | None = Field(None, description="The label in its own units, if the model has one.")
    time: Number | datetime | None = Field(
        None, description="Seconds since 1970-01-01 UTC, or ISO 8601 with a time zone. Default: now."
    )


class EventsBody(_Body):
    """Events; all are stored or, if one is wrong, none."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"events": [{"id": "b7c1", "user_id": 14, "item_id": 3649, "value": 1.8}]},
                {"events": [{"id": "b7c2", "user_id": 14, "item_id": 2267, "kind": "skip"}]},
            ]
        }
    )

    events: Annotated[list[EventBody], FIRST, at_most("events", "events")] = Field(min_length=1)


class TrafficBody(_Body):
    """Which percent of the users each model answers; they sum to 100, and a model left out gets 0."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"shares": {"ranked": 100}}]})

    shares: dict[str, Number]


class ItemBody(_Body):
    """Columns of the items table: features and display columns. Those left out are missing values."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"columns": {}}]})

    columns: Annotated[dict[str, Any], flat()]


class PlacesBody(_Body):
    """Items and a user to find on the map."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [3649, 2267], "user": 14}]})

    items: Items = Field([], description="Unknown items are left out.")
    user: Asked | None = Field(
        None, description="An id, or a new user by features, by a history, or by both."
    )
