"""What requests and answers look like: bodies are checked against these, and the OpenAPI shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from twotower.server.bounds import FIRST, at_most, first_unknown, flat

_Whole = Annotated[int, Field(strict=True, ge=-(2**63), le=2**63 - 1)]
_Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=4096)]
Id = _Whole | _Text
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]


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
    id: Id | None = Field(None, description="Old name of user.", json_schema_extra={"deprecated": True})
    items: Items | None = Field(
        None, description="Old name of history.", json_schema_extra={"deprecated": True}
    )

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        for now, old in (("user", "id"), ("history", "items")):
            if getattr(self, now) is not None and getattr(self, old) is not None:
                raise ValueError(f"'{old}' is the old name of '{now}'; give '{now}' alone")
        return self


Asked = Annotated[
    Annotated[Id, Tag("id")] | Annotated[UserQuery, Tag("query")],
    Discriminator(lambda given: "query" if isinstance(given, dict | UserQuery) else "id"),
]


_STRICT = "Whether an unknown id is an error."


class RecommendBody(_Body):
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
    k: int = Field(10, ge=1, strict=True)
    exclude_seen: bool | None = Field(
        None,
        description="Leave out what a user has seen, in training or since; null for the server's setting, "
        "by default that of the training.",
    )
    allow: Items | None = Field(None, description="Only these items.")
    deny: Items | None = Field(None, description="None of these items.")
    strict: bool = Field(False, strict=True, description=_STRICT)
    filters: Annotated[dict[str, Choice], FIRST, at_most("filters", "columns")] | None = Field(
        None,
        description="Only items whose display column has the value, one of the values, or lies in the range.",
    )
    explain: int = Field(0, ge=0, strict=True, description="How many of the user's items to name as reasons.")


class Reason(BaseModel):
    """An item of the user and what it adds to a score."""

    item_id: Id
    contribution: float


class Because(BaseModel):
    """The parts of a score: ``base + sum of contributions + rest = score``."""

    base: float = Field(description="The score without any item of the user.")
    items: list[Reason] = Field(description="The items with the largest contributions, largest first.")
    rest: float = Field(description="The sum over all other items of the user.")


class Recommended(BaseModel):
    """One item of a list."""

    item_id: Id
    rank: int
    score: float
    display: dict[str, Any]
    because: Because | None = None


class UserList(BaseModel):
    """The list of one user; shorter than k only if there are fewer candidates."""

    user_id: Id | None
    known: bool = Field(description="Whether the user is in the training set.")
    events: int = Field(description="Interactions since training that count.")
    items: list[Recommended]


class RecommendAnswer(BaseModel):
    """Lists in the order of the users asked for."""

    model: str = Field(description="Version of the model that answered.")
    results: list[UserList]
    unknown: int = Field(description="Number of unknown items in allow and deny, which were left out.")
    degraded: bool = Field(
        False,
        description="true if the event store did not respond, and lists are without recent events. Left out "
        "if false.",
    )


class OneListAnswer(UserList):
    """The list of one user."""

    model: str
    degraded: bool = Field(
        False,
        description="true if the event store did not respond, and lists are without recent events. Left out "
        "if false.",
    )


class SimilarAnswer(BaseModel):
    """Items similar to one item; scores are cosines."""

    model: str
    item_id: Id
    items: list[Recommended]


class Pair(_Body):
    """A user and an item."""

    user_id: Id
    item_id: Id


class ScoreBody(_Body):
    """Pairs to score."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pairs": [{"user_id": 14, "item_id": 3649}]}]})

    pairs: Annotated[list[Pair], FIRST, at_most("list_length", "pairs")] = Field(min_length=1)
    strict: bool = Field(False, strict=True, description=_STRICT)


class Scored(Pair):
    """A pair with its score; null if the user or the item is unknown."""

    score: float | None
    prediction: float | None = Field(
        description="In the label's own units; null for a model that ranks, which predicts no label."
    )


class ScoreAnswer(BaseModel):
    """Scores in the order of the pairs."""

    model: str
    results: list[Scored]
    unknown: int = Field(description="Number of pairs with an unknown user or item.")


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


class EventsAnswer(BaseModel):
    """How many events were stored."""

    stored: int
    duplicates: int = Field(description="Events that were stored before under the same id.")


class ItemBody(_Body):
    """Columns of the items table: features and display columns. Those left out are missing values."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"columns": {}}]})

    columns: Annotated[dict[str, Any], flat()]


class ItemAnswer(BaseModel):
    """An item of the catalogue."""

    model: str
    item_id: Id
    display: dict[str, Any]
    trained: bool = Field(description="Whether the item has interactions in the training set.")
    live: bool = Field(description="Whether it was added since training.")


class ItemsAnswer(BaseModel):
    """Items that match a search, the best first."""

    total: int = Field(description="How many match in all.")
    items: list[ItemAnswer]


class UserFound(BaseModel):
    """A user of the model."""

    user_id: Id
    seen: int = Field(description="Items seen in training.")


class UsersAnswer(BaseModel):
    """Users that match a search."""

    total: int = Field(description="How many match in all.")
    users: list[UserFound]


class Happened(BaseModel):
    """An item that a user has seen."""

    item_id: Id
    display: dict[str, Any]
    kind: Literal["interaction", "skip"]
    value: float | None = None
    time: float | None = Field(None, description="None for what was seen in training.")


class UserAnswer(BaseModel):
    """What is known of a user."""

    user_id: Id
    known: bool
    seen: int = Field(description="Items seen in training.")
    events: int = Field(description="Interactions since training.")
    history: list[Happened] = Field(
        description="Events since training, latest first, then items of training."
    )


class VerbAnswer(BaseModel):
    """What people do with items, for texts: the config's `schema.verb`, or a guess from column names."""

    base: str = Field(description='Before an item: "watch", "listen to".')
    past: str = Field(description='"watched", "listened to".')
    alone: str = Field(description='Without an item after it: "watch", "listen".')


class ModelAnswer(BaseModel):
    """What is being served."""

    model: str
    twotower: str
    users: int
    items: int
    live_items: int
    dim: int
    label: str | None
    ranks: bool = Field(description="Whether it was trained to rank, not to predict labels.")
    like: float | None = Field(description="A usual label of a positive; None for a model without labels.")
    user_features: dict[str, str]
    item_features: dict[str, str]
    display: list[str]
    category: str | None = Field(description="The display column that the map is coloured by.")
    verb: VerbAnswer
    loaded: float = Field(description="When, in seconds since 1970-01-01 UTC.")


class MapAnswer(BaseModel):
    """Items on the plane of the two principal components of their vectors, coloured by category."""

    model: str
    column: str | None = Field(description="The display column of the categories.")
    categories: list[str]
    total: int = Field(description="Items of the model.")
    every: int = Field(description="1: all items are on the map. n: every n-th is.")
    explained: list[float | None] = Field(
        description="Share of the variance of the vectors along x and along y; null where there is none."
    )
    items: list[Id]
    titles: list[str]
    x: list[float] = Field(description="Within -1 and 1.")
    y: list[float] = Field(description="Within -1 and 1.")
    category: list[int] = Field(description="Index in categories, -1 for none.")
    beyond: list[int] = Field(
        description="Indexes of items that lie outside the map and are shown at its edge."
    )


class PlacesBody(_Body):
    """Items and a user to find on the map."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [3649, 2267], "user": 14}]})

    items: Items = Field([], description="Unknown items are left out.")
    user: Asked | None = Field(
        None, description="An id, or a new user by features, by a history, or by both."
    )


class Place(BaseModel):
    """A place on the map."""

    x: float
    y: float
    beyond: bool = Field(description="Whether it lies outside the map and is moved to its edge.")


class ItemPlace(Place):
    """The place of an item on the map."""

    item_id: Id


class PlacesAnswer(BaseModel):
    """Where items and a user lie on the map of the same model."""

    model: str
    items: list[ItemPlace]
    user: Place | None


class ScoredUser(BaseModel):
    """A user and the score of an item for them."""

    user_id: Id
    rank: int
    score: float


class UsersForAnswer(BaseModel):
    """The users of highest score for an item; users who have it are left out."""

    model: str
    item_id: Id
    users: list[ScoredUser]


class ReloadAnswer(BaseModel):
    """The model that is served now."""

    model: str
    previous: str


class HealthAnswer(BaseModel):
    """The process is alive; or, for readyz, ready."""

    status: str
    model: str | None = None


class ErrorBody(BaseModel):
    """What is wrong, and what to fix."""

    code: str
    message: str
    request_id: str
    where: str | None


class ErrorAnswer(BaseModel):
    """The one form of every error."""

    error: ErrorBody
