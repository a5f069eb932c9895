"""`Schema`: the role (user, item, label, ...) or feature kind of each column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_serializer,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from twotower.config.explained import EXPLAINED, explain
from twotower.config.kinds import FeatureKind, kind_of
from twotower.core.reprs import Facts, html_of, kinds_of, named, text_of
from twotower.errors import ConfigError


class Reading(BaseModel):
    """How the text of a column is read. What is not set is detected, and noted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decimal: Literal[".", ","] | None = None
    """The decimal mark of numbers; the other one can group thousands."""
    unit: str | None = None
    """The unit written with every number, such as ``"min"``, ``"%"`` or ``"$"``."""
    format: Annotated[str, Field(min_length=1)] | None = None
    """Format of times: ``s``, ``ms``, ``us`` or ``ns`` since 1970, or a pattern such as ``%d.%m.%Y``."""

    @property
    def given(self) -> dict[str, str]:
        """The settings that are set."""
        return {key: value for key, value in self if value is not None}


def _kinds(columns: object, info: ValidationInfo) -> object:
    """Return the columns of a feature table with a `FeatureKind` each."""
    if not isinstance(columns, Mapping):
        return columns
    found, faults = {}, []
    for name, given in columns.items():
        try:
            found[name] = kind_of(given, f"schema.{info.field_name}.{name}")
        except ConfigError as error:
            faults.append(str(error))
    if faults:
        raise PydanticCustomError(EXPLAINED, "{faults}", {"faults": "\n".join(faults)})
    return found


def _plain(columns: dict[str, FeatureKind]) -> dict[str, Any]:
    return {name: kind.plain() for name, kind in columns.items()}


Kinds = Annotated[dict[str, FeatureKind], BeforeValidator(_kinds), PlainSerializer(_plain)]
ADDED = ("context", "recent_days", "daily", "item_age")
"""What can be added to the schema that a named data set brings; earlier versions don't know it."""
IdType = Literal["auto", "text", "integer"]


class Schema(BaseModel):
    """The roles of the interactions' columns, and the kinds of the users' and items' feature columns.

    The id columns have the same names in all tables unless ``users_id`` or ``items_id`` is set. Without a
    users or an items table, its features are columns of the interactions, with the same value in all rows of
    an id.

    Raises:
        ConfigError: an unknown key, with the nearest one; a value that is not valid; a column with two roles.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = "user_id"
    """Column with the user's id (integer or string)."""
    item: str = "item_id"
    """Column with the item's id (integer or string)."""
    label: str | None = None
    """Column with the value to predict or to grade by (a rating, a watch ratio); not set for purely implicit
    data."""
    levels: tuple[str, ...] = ()
    """For a label with words (view, cart, purchase): all of them, weakest first. They become 1, 2, ..."""
    timestamp: str | None = None
    """Column with the time of the interaction (number, date or datetime); may be empty in some rows."""
    weight: str | None = None
    """Column of the interactions with a non-negative sample weight."""
    duration: str | None = None
    """Column with the item's duration, in the interactions or the items; used for debiasing and for
    slices."""
    user_type: IdType = "auto"
    """Type of user ids: ``text``, ``integer``, or ``auto``: text if any id is not an integer, or has a
    leading zero, a plus sign, quotes or more than 63 bits."""
    item_type: IdType = "auto"
    """The same for item ids."""
    missing_ids: Literal["refuse", "drop"] = "refuse"
    """What to do with interactions without a user or an item; dropped ones are counted in a note."""
    interactions: dict[str, Reading] = Field(default_factory=dict)
    """How to read the text of the label, timestamp, weight or duration, if it can't be detected: ``date = {
    format = "%d/%m/%Y" }``, ``price = { decimal = "," }``."""
    users: Kinds = Field(default_factory=dict)
    """Feature columns of the users table and their kinds; other columns are not read. Instead of a kind, a
    TOML table can set more: ``genres = { kind = "categories", separator = ", " }``. From Python a kind can
    also be a `FeatureKind`."""
    items: Kinds = Field(default_factory=dict)
    """Feature columns of the items table and their kinds; other columns are not read."""
    context: Kinds = Field(default_factory=dict)
    """Columns of the interactions that are known when recommendations are asked for (device, page, surface),
    and their kinds, as for users. The timestamp may be among them, with a kind of times, such as
    ``calendar``: it is then when a query is asked. Towers of kind ``sequence`` read them."""
    recent_days: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Windows in days, such as ``[1, 7, 30]``: how many positives an item had in each, up to the day before a
    query, adds to its score. Towers of kind ``sequence`` read it."""
    daily: Kinds = Field(default_factory=dict)
    """Columns of the items table with a value for each day, as a list of ``{date, value}``, and their kinds
    (``number`` or ``log_number``): the last value of a day before that of a query adds to an item's score.
    Towers of kind ``sequence`` read them."""
    item_age: str | None = None
    """Column of the items table with a time (of an upload, a release): how old an item is on the day of a
    query adds to its score. It is a feature in ``[schema.items]`` with a kind of times. Towers of kind
    ``sequence`` read it."""
    display: tuple[str, ...] = ()
    """Columns of the items table that are shown with recommendations (title, caption)."""
    users_id: str | None = None
    """Column of the users table with the user's id, if it has another name than in the interactions."""
    items_id: str | None = None
    """Column of the items table with the item's id, if it has another name than in the interactions."""
    verb: Annotated[str, Field(pattern=r"^[a-z]+(?: [a-z]+)*$", max_length=40)] | None = None
    """What people do with items, for the page and the report: ``watch``, ``listen to``, ``buy``, ``read``. If
    not given, it is guessed from the names of the label and the ids, else it is ``interact with``."""

    if not TYPE_CHECKING:  # type checkers see the fields as arguments

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise ConfigError(explain(error, "schema", type(self).model_fields)) from None

        # As on pydantic's own models: JSON and tables are validated by their fields and don't come here.
        __init__.__pydantic_base_init__ = True

    @model_serializer(mode="wrap")
    def _as_in_earlier_versions(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what earlier versions don't know where it isn't set: fingerprints stay the same."""
        found: dict[str, Any] = dump(self)
        return {name: value for name, value in found.items() if value or name not in ADDED}

    @field_serializer("interactions")
    def _readings(self, readings: dict[str, Reading]) -> dict[str, dict[str, str]]:
        return {name: reading.given for name, reading in readings.items()}

    @model_validator(mode="after")
    def _roles_are_distinct(self) -> Self:
        roles = [c for c in (self.user, self.item, self.label, self.timestamp, self.weight) if c is not None]
        if len(set(roles)) != len(roles):
            raise ValueError(f"each role needs a different column, got {roles}")
        if self.levels and (
            self.label is None or len(set(self.levels)) != len(self.levels) or len(self.levels) < 2
        ):
            raise ValueError(
                f"levels must be two or more different values of the label, got {list(self.levels)}"
            )
        for name in self.interactions:
            known = [c for c in (self.label, self.timestamp, self.weight, self.duration) if c is not None]
            if name not in known:
                raise ValueError(
                    "[schema.interactions] is only for the columns of the label, timestamp, weight and "
                    f"duration ({', '.join(known) or 'none'}), got {name!r}"
                )
        for table, ids, features in (("users", self.user, self.users), ("items", self.item, self.items)):
            if ids in features:
                raise ValueError(f"the id column {ids!r} can't also be a feature in [schema.{table}]")
        self._check_context()
        return self

    def _check_context(self) -> None:
        """Check that the columns of the context are known at a request, and that daily ones are numbers."""
        for name, kind in self.context.items():
            roles = {"user": self.user, "item": self.item, "label": self.label, "weight": self.weight}
            role = next((role for role, column in roles.items() if column == name), None)
            if role is not None:
                raise ValueError(
                    f"[schema.context] is for what is known when recommendations are asked for; {name!r} is "
                    f"the {role}; leave it out"
                )
            table = next((table for table in ("users", "items") if name in getattr(self, table)), None)
            if table is not None:
                raise ValueError(f"{name!r} can't be a feature in [schema.{table}] and [schema.context] both")
            if name == self.timestamp and kind.meaning != "time":
                raise ValueError(
                    f"the timestamp {name!r} needs a kind of times in [schema.context], got {kind.name!r}; "
                    "write 'calendar' for the hour and the day of the week"
                )
        for name, kind in self.daily.items():
            if kind.meaning != "quantity":
                raise ValueError(f"[schema.daily] {name} is a 'number' or a 'log_number', got {kind.name!r}")
            if name in self.items or name in self.display:
                raise ValueError(f"{name!r} has a value for each day; leave it out of the items and display")

    @property
    def statistics(self) -> tuple[str, ...]:
        """The settings for statistics of items on the day of a query that are set."""
        return tuple(name for name in ADDED[1:] if getattr(self, name))

    @property
    def statistics_fault(self) -> str | None:
        """What the statistics need and the schema lacks; None if that is nothing.

        The part that is added to a named data set may lack it.
        """
        if self.statistics and self.timestamp is None:
            return f"{self.statistics[0]} needs the time of each interaction; set timestamp"
        born = None if self.item_age is None else self.items.get(self.item_age)
        if self.item_age is None or (born is not None and born.meaning == "time"):
            return None
        return (
            f"item_age is a column of times in [schema.items], got {self.item_age!r}, which is "
            f"{'not there' if born is None else f'of kind {born.name!r}'}; write {self.item_age} = "
            "'timestamp' there"
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Schema:
        """Build a schema from plain values, like the constructor."""
        return cls(**{str(key): value for key, value in values.items()})

    def with_settings(
        self, table: Literal["users", "items", "context"], found: Mapping[str, Mapping[str, str]]
    ) -> Schema:
        """Return the schema with what was detected in the text of feature columns, so new rows are read the
        same way. Settings it already has are kept.
        """
        kinds: dict[str, FeatureKind] = getattr(self, table)
        changed = {name: kind.filled(found.get(name, {})) for name, kind in kinds.items()}
        return self.model_copy(update={table: changed}) if found else self

    def facts(self) -> Facts:
        """Return what there is to say of the schema in short."""
        roles = ("user", "item", "label", "timestamp", "weight", "duration")
        levels = f" ({' < '.join(self.levels)})" if self.levels else ""
        label = None if self.label is None else self.label + levels
        named_roles = {role: getattr(self, role) for role in roles} | {"label": label}
        return named_roles | {
            "user features": kinds_of(self.users),
            "item features": kinds_of(self.items),
            "context": kinds_of(self.context) if self.context else None,
            "daily": kinds_of(self.daily) if self.daily else None,
            "shown with items": named(self.display),
        }

    def __repr__(self) -> str:
        return text_of("Schema", self.facts())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_of("Schema", self.facts())

    def interaction_columns(self) -> list[str]:
        """Return the names of all columns that must be in the interactions table."""
        roles = (self.user, self.item, self.label, self.timestamp, self.weight)
        return list(dict.fromkeys(name for name in (*roles, *self.context) if name is not None))
