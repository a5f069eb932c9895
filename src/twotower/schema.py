"""What each column is: roles (user, item, label, ...) and feature kinds. The one place for column names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twotower.errors import ConfigError, nearest


class Kind(StrEnum):
    """How the encoder reads a feature column of the users or items table."""

    NUMBER = "number"
    """A quantity on a linear scale."""
    LOG_NUMBER = "log_number"
    """A count or other non-negative heavy-tailed quantity; read as log(1 + x)."""
    CATEGORY = "category"
    """One code or string out of a set; nominal, never read as a quantity."""
    CATEGORIES = "categories"
    """A list of codes or strings (tags, genres)."""
    VECTOR = "vector"
    """A list of floats of one length for all rows (an embedding made elsewhere)."""
    TEXT = "text"
    """Free text in any language, read as hashed character n-grams."""
    TIMESTAMP = "timestamp"
    """A date, a datetime or seconds since 1970-01-01 UTC."""


class Schema(BaseModel):
    """Roles of the interactions' columns and kinds of the users' and items' feature columns.

    The id columns have the same name in all tables: ``user`` in interactions and users, ``item`` in
    interactions and items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = "user_id"
    """Column with the user's id (integer or string)."""
    item: str = "item_id"
    """Column with the item's id (integer or string)."""
    label: str | None = None
    """Column with the value to predict (a rating, a watch ratio); none for purely implicit data."""
    levels: tuple[str, ...] = ()
    """Where the label is words (view, cart, purchase): all of them, weakest first. They count 1, 2, ..."""
    timestamp: str | None = None
    """Column with the time of the interaction (number, date or datetime); may be empty in some rows."""
    weight: str | None = None
    """Column of the interactions with a non-negative sample weight."""
    duration: str | None = None
    """Column with the item's duration, in interactions or items; for the debiased label and for slices."""
    users: dict[str, Kind] = Field(default_factory=dict)
    """Feature columns of the users table and their kinds; columns not named are not read."""
    items: dict[str, Kind] = Field(default_factory=dict)
    """Feature columns of the items table and their kinds; columns not named are not read."""
    display: tuple[str, ...] = ()
    """Columns of the items table shown beside a recommendation (title, caption)."""

    @model_validator(mode="after")
    def _roles_are_distinct(self) -> Self:
        roles = [c for c in (self.user, self.item, self.label, self.timestamp, self.weight) if c is not None]
        if len(set(roles)) != len(roles):
            raise ValueError(f"each role needs a column of its own, got {roles}")
        if self.levels and (
            self.label is None or len(set(self.levels)) != len(self.levels) or len(self.levels) < 2
        ):
            raise ValueError(f"levels are two or more different values of the label, got {list(self.levels)}")
        for table, ids, features in (("users", self.user, self.users), ("items", self.item, self.items)):
            if ids in features:
                raise ValueError(f"the id column {ids!r} can't also be a feature in [schema.{table}]")
        return self

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Schema:
        """Build a schema from plain values; a wrong one is a `ConfigError` that suggests the nearest."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(explain(error, "schema", cls.model_fields, tuple(Kind))) from None

    def interaction_columns(self) -> list[str]:
        """Names of all columns that must be in the interactions table."""
        return [c for c in (self.user, self.item, self.label, self.timestamp, self.weight) if c is not None]


def explain(error: ValidationError, section: str, keys: Iterable[str], values: Iterable[str] = ()) -> str:
    """One line a fault for a pydantic error: where, what was given, and the nearest valid key or value."""
    lines = []
    for fault in error.errors():
        where = ".".join([section, *(str(part) for part in fault["loc"])]).lstrip(".")
        given = fault["input"]
        if fault["type"] == "extra_forbidden":
            hint = nearest(str(fault["loc"][-1]), keys)
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
    "missing": "is needed",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotes",
    "too_short": "must be a list of {min_length} or more",
    "tuple_type": "must be a list in square brackets",
}
"""What pydantic's commonest faults break, in the words of who writes TOML."""


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
