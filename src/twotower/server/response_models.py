"""Answers to requests, as the OpenAPI shows them and `twotower.client` reads them: imports stay light."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from twotower.server.ids import Id

_UNKNOWN = (
    "Features of which a value is not known to the model, as training lacked it or had it too rarely, each "
    "with such a value; all of these count as the same unknown value. Left out if there are none."
)


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


class ModelsAnswer(BaseModel):
    """The models being served."""

    class Served(BaseModel):
        """One of them."""

        run: str
        model: str = Field(description="Its version.")
        share: float = Field(description="Percent of the users that it answers.")
        shadow: bool = Field(description="Whether it is only asked, and never answers.")
        loaded: float
        items: int

    models: list[Served]
    salt: str


class UserList(BaseModel):
    """The list of one user; shorter than k only if there are fewer candidates."""

    model: str | None = Field(
        None, description="Version of the model that answered, where several are served; else left out."
    )
    run: str | None = Field(None, description="Its name, as above.")

    user_id: Id | None
    known: bool = Field(description="Whether the user is in the training set.")
    events: int = Field(description="Interactions since training that count.")
    items: list[Recommended]
    given_up: list[Literal["at_most", "new_share"]] = Field(
        [],
        description="Rules of diversity that the list does not keep, as there were too few other candidates. "
        "Left out if there are none.",
    )


class _Lists(BaseModel):
    model: str | None = Field(
        description="Version of the model that answered; null if several did, see that of each list."
    )
    degraded: bool = Field(
        False,
        description="true if the event store did not respond, and lists are without recent events. Left out "
        "if false.",
    )


class RecommendAnswer(_Lists):
    """Lists in the order of the users asked for."""

    results: list[UserList]
    unknown: int = Field(description="Number of unknown items in allow and deny, which were left out.")
    unknown_features: dict[str, Any] = Field({}, description=_UNKNOWN)


class OneListAnswer(_Lists, UserList):
    """The list of one user."""


class SimilarAnswer(BaseModel):
    """Items similar to one item; scores are cosines."""

    model: str
    item_id: Id
    items: list[Recommended]
    unknown: int = Field(description="Number of unknown items in allow and deny, which were left out.")


class Scored(BaseModel):
    """A pair with its score; null if the user or the item is unknown."""

    user_id: Id
    item_id: Id
    score: float | None
    prediction: float | None = Field(
        description="In the label's own units; null for a model that ranks, which predicts no label."
    )


class ScoreAnswer(BaseModel):
    """Scores in the order of the pairs."""

    model: str
    results: list[Scored]
    unknown: int = Field(description="Number of pairs with an unknown user or item.")


class EventsAnswer(BaseModel):
    """How many events were stored."""

    stored: int
    duplicates: int = Field(description="Events that were stored before under the same id.")


class ItemAnswer(BaseModel):
    """An item of the catalogue."""

    model: str
    item_id: Id
    display: dict[str, Any]
    trained: bool = Field(description="Whether the item has interactions in the training set.")
    live: bool = Field(description="Whether it was added since training.")
    unknown_features: dict[str, Any] = Field({}, description=_UNKNOWN)


class ItemsAnswer(BaseModel):
    """Items that match a search, the best first."""

    total: int = Field(description="How many match in all.")
    items: list[ItemAnswer]


class UserFound(BaseModel):
    """A user of the model."""

    user_id: Id
    seen: int = Field(description="Different items seen in training.")


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
    seen: int = Field(description="Different items seen in training.")
    events: int = Field(description="Interactions since training.")
    history: list[Happened] = Field(
        description="Events since training, latest first, then items of training, each once with its highest "
        "label, the highest first."
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
    context: dict[str, str] = Field(description="Columns of a request's context that the model reads.")
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


class ForgetAnswer(BaseModel):
    """A user was deleted."""

    model: str
    events: int
    """Events of the user that were deleted from the store."""
    pending: str
    """Why the bundle on disk still has the user, which this server leaves out; empty if it has not."""


class ReloadAnswer(BaseModel):
    """The model that is served now; of several models the first one, and each by its name."""

    class Reloaded(BaseModel):
        """One of them."""

        model: str
        previous: str

    model: str
    previous: str
    runs: dict[str, Reloaded]


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
