"""`FeatureKind`: what a feature column contains and how it becomes numbers; and the registry of all kinds.

A kind is one file in `twotower.features`. The base class and the registry are here, below all that ask them:
the schema, the readers of tables, the encoder, the saved format, the checks of data, the documentation.
"""

from __future__ import annotations

import inspect
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from twotower.config.explained import explain
from twotower.core.registry import Registry
from twotower.errors import ConfigError, RenamedWarning

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from twotower.core.blocks import Block, Form
    from twotower.core.column_facts import ColumnFacts, Fit
    from twotower.core.where import Found, Where

Meaning = Literal["quantity", "time", "tags", "text", "other"]
"""What the values of a column are: amounts; moments (seconds since 1970-01-01 UTC); members of a set, one or
several in each row; words; something else."""


class ColumnEncoder(ABC):
    """A feature column's encoder, fitted on the training set by `FeatureKind.fit`."""

    @property
    @abstractmethod
    def form(self) -> Form:
        """The form of every block that `transform` returns."""

    @abstractmethod
    def transform(self, column: pl.Series) -> Block:
        """Return a checked column of n rows as a block of n rows.

        A row's part does not depend on the other rows. A missing value (null) has a part of its own, and so
        has a value that the training set lacks.
        """

    def state(self) -> dict[str, Any]:
        """Return what was fitted as JSON values."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what was fitted as arrays, for what is large."""
        return {}


class FeatureKind(BaseModel, ABC):
    """A kind of feature column. Its fields are the settings of one column, such as the separator of a list.

    A subclass of one's own is used as ``Schema(users={"age": AgeGroups(years=5)})``, and saved in bundles by
    its name: ``module:Class``, or the one that ``KINDS.register`` was given. The class is not saved; import
    and register it before the bundle is loaded.

    The first paragraph of the docstring describes the kind in the documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: ClassVar[Any]
    """Polars dtype of a checked column without any value; one with values can have another."""
    meaning: ClassVar[Meaning] = "other"
    """What its values say. Checks of the data, baselines and the report go by it."""
    alone: ClassVar[bool] = False
    """Whether a text is read in the same way whatever the other values of its column are."""

    @abstractmethod
    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return a raw column of n values as a checked one; null means missing.

        The kind without settings reads a checked column without a change.

        Args:
            values: as they come from a file or a frame.
            where: table and column; it makes the error of a value (``where.first``) or a type.
            found: collects notes and settings that were detected.

        Raises:
            DataError: a value is not of this kind.
        """

    @abstractmethod
    def fit(self, column: pl.Series) -> ColumnEncoder:
        """Fit an encoder on a checked column with one row per user or item of the training set."""

    @abstractmethod
    def restore(self, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> ColumnEncoder:
        """Return the encoder with this `ColumnEncoder.state` and `ColumnEncoder.arrays`.

        Bundles can come from anyone: check every value (`twotower.core.saved`, `twotower.core.tensors`).

        Raises:
            ValueError: a value is invalid.
        """

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Return how well a column without a declared kind suits this one; None if not. `init` asks it."""
        return None

    def grouped(self, column: pl.Series) -> pl.Series | None:
        """Return one value per row of a checked column that rows can be grouped by; None if there is none.

        Floats are grouped by their quantiles, other values each by itself.
        """
        return None

    def of_new_rows(self) -> Self:
        """Return the kind for rows that come one at a time, where the others tell nothing."""
        return self

    @property
    def name(self) -> str:
        """The name in the config and in bundles."""
        return KINDS.name_of(type(self))

    @property
    def settings(self) -> dict[str, Any]:
        """The fields that are set, as JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    def filled(self, settings: Mapping[str, Any]) -> Self:
        """Return the kind with those of the settings that it has and that are not set yet."""
        fields = type(self).model_fields
        new = {key: value for key, value in settings.items() if key in fields and getattr(self, key) is None}
        return self.model_copy(update=new) if new else self

    def plain(self) -> str | dict[str, Any]:
        """Return the name, or with settings a table, as they are written in a config."""
        return {"kind": self.name, **self.settings} if self.settings else self.name

    @classmethod
    def described(cls) -> str:
        """Return the description, in one line."""
        return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        """Whether the other is the same kind with the same settings, or the name of this kind."""
        return self.name == other if isinstance(other, str) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.name)


KINDS: Final[Registry[FeatureKind]] = Registry(
    "kind",
    "twotower.features",
    {
        "number": "number:Number",
        "log_number": "log_number:LogNumber",
        "category": "category:Category",
        "categories": "categories:Categories",
        "vector": "vector:Vector",
        "text": "text:Text",
        "timestamp": "timestamp:Timestamp",
        "calendar": "calendar:Calendar",
    },
)
"""All feature kinds by name."""


def kind_of(given: object, where: str = "kind") -> FeatureKind:
    """Return a kind by its name, or from a table with its name and settings.

    Args:
        given: ``"number"``, ``{"kind": "number", "decimal": ","}``, or a kind, which is returned.
        where: key of the config, for messages.

    Raises:
        ConfigError: there is no such kind or setting, or a setting is invalid.
    """
    if isinstance(given, FeatureKind):
        return given
    settings = {str(key): value for key, value in given.items()} if isinstance(given, Mapping) else {}
    if isinstance(given, Mapping) and "kind" not in settings:
        raise ConfigError(f"'{where}.kind' is missing.")
    name = settings.pop("kind", given)
    if not isinstance(name, str) or (":" not in name and name not in KINDS.names()):
        raise KINDS.unknown(name, f"'{where}'")
    try:
        found = KINDS.get(name)
    except ConfigError as error:
        raise ConfigError(f"'{where}': {error}") from None
    try:
        return found.model_validate(settings)
    except ValidationError as error:
        foreign = [key for key in settings if key not in found.model_fields and _owners(key)]
        if foreign:
            owners = " and ".join(_owners(foreign[0]))
            raise ConfigError(f"'{where}': {foreign[0]} is only for kind {owners}, not '{name}'.") from None
        raise ConfigError(explain(error, where, ["kind", *found.model_fields])) from None


def _owners(setting: str) -> list[str]:
    """Return the names of the kinds that have a setting."""
    return [name for name in KINDS.names() if setting in KINDS.get(name).model_fields]


class _Names(type):
    def __getattr__(cls, key: str) -> str:
        name = key.lower()
        if key != key.upper() or name not in KINDS.names():
            raise AttributeError(f"there is no Kind.{key}")
        warnings.warn(f"Kind.{key} is now written {name!r}", RenamedWarning, stacklevel=2)
        return name

    def __iter__(cls) -> Iterator[str]:
        return iter(KINDS.names())


class Kind(metaclass=_Names):
    """The names of the feature kinds, as ``Kind.NUMBER``. Deprecated: write ``"number"``."""
