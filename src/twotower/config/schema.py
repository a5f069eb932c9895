"""`Schema`: the role (user, item, label, ...) or feature kind of each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from twotower.core.reprs import Facts, html_of, kinds_of, named, text_of
from twotower.errors import ConfigError, nearest


class Kind(StrEnum):
    """How the encoder reads a feature column of the users or items table."""

    NUMBER = "number"
    """A quantity on a linear scale."""
    LOG_NUMBER = "log_number"
    """A count or another non-negative, heavy-tailed quantity; read as log(1 + x)."""
    CATEGORY = "category"
    """A code or string from a set of values; never read as a quantity."""
    CATEGORIES = "categories"
    """A list of codes or strings (tags, genres)."""
    VECTOR = "vector"
    """A list of floats, of the same length in all rows (an embedding computed elsewhere)."""
    TEXT = "text"
    """Free text in any language, read as hashed character n-grams."""
    TIMESTAMP = "timestamp"
    """A date, a datetime, or a number of seconds, milliseconds, ... since 1970-01-01 UTC."""


class Reading(BaseModel):
    """How the text of a column is read. What is not set is detected, and noted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separator: Annotated[str, Field(min_length=1)] | None = None
    """Separator between the tags of one row (kind ``categories``), such as ``", "``."""
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


class Column(Reading):
    """A feature column written as a TOML table: its kind, and how its text is read."""

    kind: Kind
    """The kind of the column."""

    @model_validator(mode="after")
    def _fits_the_kind(self) -> Self:
        for key in self.given:
            if key != "kind" and self.kind not in _READS[key]:
                raise ValueError(f"{key} is only for kind {' and '.join(_READS[key])}, not '{self.kind}'")
        return self

    @property
    def reading(self) -> Reading:
        """How its text is read."""
        return Reading(**{key: value for key, value in self.given.items() if key != "kind"})


_READS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "separator": (Kind.CATEGORIES,),
    "decimal": (Kind.NUMBER, Kind.LOG_NUMBER, Kind.VECTOR),
    "unit": (Kind.NUMBER, Kind.LOG_NUMBER),
    "format": (Kind.TIMESTAMP,),
}
"""Setting of a reading -> the kinds that it is for."""


class _KindOrTable:
    """Validates the columns of a feature table: each is a kind, or a TOML table with a kind."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source
        form = Discriminator(lambda given: "<table>" if isinstance(given, dict | Column) else "<kind>")
        either = Annotated[Annotated[Kind, Tag("<kind>")] | Annotated[Column, Tag("<table>")], form]
        return handler.generate_schema(dict[str, either])


Kinds = Annotated[dict[str, Kind], _KindOrTable()]
IdType = Literal["auto", "text", "integer"]


class Schema(BaseModel):
    """The roles of the interactions' columns, and the kinds of the users' and items' feature columns.

    The id columns have the same names in all tables unless ``users_id`` or ``items_id`` is set. Without a
    users or an items table, its features are columns of the interactions, with the same value in all rows of
    an id.
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
    TOML table can set more: ``genres = { kind = "categories", separator = ", " }``, see `Column`."""
    items: Kinds = Field(default_factory=dict)
    """Feature columns of the items table and their kinds; other columns are not read."""
    display: tuple[str, ...] = ()
    """Columns of the items table that are shown with recommendations (title, caption)."""
    users_id: str | None = None
    """Column of the users table with the user's id, if it has another name than in the interactions."""
    items_id: str | None = None
    """Column of the items table with the item's id, if it has another name than in the interactions."""
    verb: Annotated[str, Field(pattern=r"^[a-z]+(?: [a-z]+)*$", max_length=40)] | None = None
    """What people do with items, for the page and the report: ``watch``, ``listen to``, ``buy``, ``read``. If
    not given, it is guessed from the names of the label and the ids, else it is ``interact with``."""

    _readings: dict[str, dict[str, Reading]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _kinds_apart(self) -> Self:
        """Leave only the kinds in the fields, and store the other settings of a TOML table."""
        for table, features in (("users", self.users), ("items", self.items)):
            for name, given in features.items():
                column: object = given
                if isinstance(column, Column):
                    features[name] = column.kind
                    if column.reading.given:
                        self._readings.setdefault(table, {})[name] = column.reading
        return self

    @model_serializer(mode="wrap")
    def _with_tables(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for table, readings in self._readings.items():
            for name, reading in readings.items():
                if name in values.get(table, {}):
                    values[table][name] = {"kind": values[table][name], **reading.given}
        for name, reading in self.interactions.items():
            if "interactions" in values:
                values["interactions"][name] = reading.given
        return values

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
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Schema:
        """Build a schema from plain values; an invalid one raises a `ConfigError` that suggests the
        nearest."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(explain(error, "schema", cls.model_fields, tuple(Kind))) from None

    def readings(self, table: Literal["users", "items"]) -> Mapping[str, Reading]:
        """Return how the text of feature columns is read, for those with settings."""
        return self._readings.get(table, {})

    def with_readings(self, table: Literal["users", "items"], found: Mapping[str, Reading]) -> Schema:
        """Return the schema with what was detected in the text of feature columns, so new rows are read the
        same way. Settings it already has are kept.
        """
        if not found:
            return self
        changed = self.model_copy()
        known = self._readings.get(table, {})
        merged = {
            name: reading.model_copy(update=known[name].given) if name in known else reading
            for name, reading in found.items()
        }
        changed._readings = {**self._readings, table: {**known, **merged}}
        return changed

    def facts(self) -> Facts:
        """Return what there is to say of the schema in short."""
        roles = ("user", "item", "label", "timestamp", "weight", "duration")
        levels = f" ({' < '.join(self.levels)})" if self.levels else ""
        label = None if self.label is None else self.label + levels
        named_roles = {role: getattr(self, role) for role in roles} | {"label": label}
        return named_roles | {
            "user features": kinds_of(self.users),
            "item features": kinds_of(self.items),
            "shown with items": named(self.display),
        }

    def __repr__(self) -> str:
        return text_of("Schema", self.facts())

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return html_of("Schema", self.facts())

    def interaction_columns(self) -> list[str]:
        """Return the names of all columns that must be in the interactions table."""
        return [c for c in (self.user, self.item, self.label, self.timestamp, self.weight) if c is not None]


def explain(error: ValidationError, section: str, keys: Iterable[str], values: Iterable[str] = ()) -> str:
    """Return one line per fault of a pydantic error: where, the value received, and the nearest valid key or
    value."""
    lines = []
    for fault in error.errors():
        loc = [str(part) for part in fault["loc"] if part not in ("<kind>", "<table>")]
        where = ".".join([section, *loc]).lstrip(".")
        given = fault["input"]
        if fault["type"] == "extra_forbidden":
            if "<table>" in fault["loc"]:
                keys = Column.model_fields
            hint = nearest(loc[-1], keys)
            lines.append(f"unknown key '{where}'.{hint or ' Valid: ' + ', '.join(keys) + '.'}")
        elif fault["type"] in ("enum", "literal_error"):
            expected = str(fault.get("ctx", {}).get("expected", ""))
            options = [o.strip().strip("'") for o in expected.replace(" or ", ", ").split(",")] or list(
                values
            )
            lines.append(
                f"'{where}' must be one of {', '.join(options)}; got {given!r}.{nearest(str(given), options)}"
            )
        else:
            shown = "" if isinstance(given, dict | BaseModel) else f", got {_as_toml(given)}"
            rule = _RULES.get(fault["type"])
            if rule is None:
                message = fault["msg"].removeprefix("Value error, ")
                shown = shown and f" ({shown.removeprefix(', ')})"
                lines.append(f"'{where}': {message}{shown}.")
            else:
                bounds = {
                    name: f"{bound:g}" if isinstance(bound, float) else bound
                    for name, bound in fault.get("ctx", {}).items()
                }
                lines.append(f"'{where}' {rule.format(**bounds)}{shown}.")
    return "\n".join(lines)


_RULES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a section with keys",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotes",
    "too_short": "must be a list of {min_length} or more",
    "tuple_type": "must be a list in square brackets",
}
"""pydantic's most frequent errors, in the words of a TOML file."""


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
