"""`VectorDatabase`: what publishing and searching ask of a vector database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.errors import ConfigError
from twotower.retrieval.databases.address import Address
from twotower.retrieval.databases.columns import Columns
from twotower.retrieval.registry import INDEXES


@dataclass(frozen=True, eq=False)
class Items:
    """What is published.

    Attributes:
        vectors: (n_items, dim) float32, finite.
        ids: (n_items,) Int64 or String.
        columns: for filters.
    """

    vectors: NDArray[np.float32]
    ids: pl.Series
    columns: Columns


@dataclass(frozen=True, order=True)
class Version:
    """A version of a catalogue in a database.

    Attributes:
        time: when its publication began, UTC, ``YYYYMMDDhhmmss``.
        version: the first 12 digits of the bundle's hash.
        collection: the collection that has it, alone.
        complete: whether all of it was written.
        current: whether it is what the address stands for.
    """

    time: str
    version: str
    collection: str
    complete: bool = True
    current: bool = False


class VectorDatabase(ABC):
    """The versions of one catalogue at an address.

    A version is in a collection of its own, which is complete before anybody can find it, and never changed
    afterwards. The address stands for one of them, the current one, and is switched to another at once.

    An object connects when it is first used, may be used from many threads, and is pickled without its
    connection.

    Attributes:
        scheme: of addresses.
        example: of an address, for messages.
        most: items that one search returns at most.
    """

    scheme: ClassVar[str]
    example: ClassVar[str]
    most: ClassVar[int]

    def __init__(self, address: Address) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.address)!r})"

    @classmethod
    @abstractmethod
    def embedded(cls) -> VectorDatabase:
        """Return the database of this process alone, which ends with it."""

    @property
    @abstractmethod
    def local(self) -> bool:
        """Whether this process holds the database in its memory."""

    @abstractmethod
    def versions(self) -> list[Version]:
        """Return all versions, the oldest first, also incomplete ones."""

    @abstractmethod
    def name_of(self, version: str) -> str:
        """Return what stands for the collection of a complete version."""

    @abstractmethod
    def fill(
        self, collection: str, items: Items, parameters: Mapping[str, int], told: Callable[[int], None]
    ) -> None:
        """Write a new collection, make it searchable, and check that it has all items.

        Args:
            collection: its name; there must be none.
            items: what to write.
            parameters: of the search structure.
            told: called with the number of items written so far.
        """

    @abstractmethod
    def complete(self, version: Version) -> None:
        """Mark a version as complete; from now on `versions` says so."""

    @abstractmethod
    def switch(self, version: Version) -> None:
        """Make a complete version the current one, at once."""

    @abstractmethod
    def remove(self, collection: str) -> None:
        """Delete a collection; nothing happens where there is none."""

    @abstractmethod
    def count(self, collection: str) -> int:
        """Return how many items a collection has, after making it searchable."""

    @abstractmethod
    def built(self, collection: str) -> dict[str, int]:
        """Return the parameters that a collection's search structure was built with."""

    @abstractmethod
    def check(self, collection: str) -> None:
        """Check that a collection can be searched, in a moment."""

    @abstractmethod
    def condition(self, columns: Columns, name: str, choice: Any) -> str | None:
        """Return a condition on a column in the language of the database; None if it has no words for it.

        Args:
            columns: of the collection.
            name: display name of the column.
            choice: a value, a list of values or a range; see `twotower.recommender.display.Filters`.
        """

    @abstractmethod
    def among(self, rows: NDArray[np.int32], *, apart: bool = False) -> str:
        """Return the condition that an item is, or with ``apart`` is not, among some rows."""

    @abstractmethod
    def nearest(
        self,
        collection: str,
        users: NDArray[np.float32],
        fetch: int,
        conditions: list[str],
        parameters: Mapping[str, int],
    ) -> NDArray[np.int64]:
        """Return the rows of the items of highest score, (n_users, fetch), -1 where there are none.

        Args:
            collection: to search.
            users: (n_users, dim), finite.
            fetch: at most ``most``.
            conditions: all of which an item must meet.
            parameters: of the search.

        Raises:
            IndexUnavailable: the database does not answer, or not in time.
        """


def database_at(text: str) -> VectorDatabase:
    """Return the database of an address; nothing is connected yet.

    Raises:
        ConfigError: no database has such addresses, or a part is invalid.
    """
    scheme = text.partition(":")[0]
    kinds = {name: kind for name, kind in zip(INDEXES, INDEXES.classes(), strict=True) if kind.waits}
    if scheme not in kinds or scheme == text:
        examples = " or ".join(kind.kind.example for kind in kinds.values())  # type: ignore[attr-defined]
        given = f"{scheme}:..." if scheme != text else text
        raise ConfigError(f"the address of a vector database must be {examples}; got {given!r}")
    found: VectorDatabase = kinds[scheme].kind(Address.parse(text))  # type: ignore[attr-defined]
    return found
