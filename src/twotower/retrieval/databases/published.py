"""`PublishedIndex`: an index that asks a vector database.

The database proposes items, and what may be given is part of the question: columns, rows that are allowed or
denied, rows that the user has seen. Scores are computed here, so that they are the bits of every other index.
A list that comes back short is made by a scan of its candidates.
"""

from __future__ import annotations

import json
import weakref
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self
from uuid import uuid4

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.errors import BundleError, ConfigError
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.databases.columns import Columns
from twotower.retrieval.databases.database import Items, VectorDatabase, database_at
from twotower.retrieval.exact import rescore, scan
from twotower.retrieval.filters import Where
from twotower.retrieval.index import Index
from twotower.retrieval.registry import INDEXES

_SENT = 10_000
"""Rows that a condition names at most."""
_MORE = 16
"""Items that are asked for beyond k: the database's scores differ from ours in the last digits."""
_USERS = 1024
"""Users whose answers are in memory at once."""


class PublishedIndex(Index):
    """The items of a collection in a vector database.

    Attributes:
        kind: the database.
        database: the one that is asked.
        collection: in it.
        columns: those that conditions can be on.
    """

    tried = False
    waits = True
    kind: ClassVar[type[VectorDatabase]]

    def __init__(
        self,
        items: NDArray[np.float32],
        parameters: Any,
        database: VectorDatabase,
        collection: str,
        columns: Columns | None = None,
        temporary: object = None,
    ) -> None:
        super().__init__(items, parameters)
        self.database, self.collection = database, collection
        self.columns = Columns(pl.DataFrame()) if columns is None else columns
        self._temporary = temporary

    @classmethod
    @abstractmethod
    def chosen(cls, parameters: Any, n_items: int) -> Any:
        """Return the parameters with values in the place of zeros."""

    @classmethod
    def built_with(cls, parameters: Mapping[str, int], n_items: int) -> dict[str, int]:
        """Return the parameters to build with, chosen ones filled in.

        Raises:
            ConfigError: an unknown parameter, one of searching, or one out of range.
        """
        for name in cls._kind.of_search:
            if name in parameters:
                raise ConfigError(f"{name!r} is chosen when the index is searched, not when it is published")
        found = cls._as_dict(cls.chosen(cls._kind.given(dict(parameters)), n_items))
        return {name: value for name, value in found.items() if name not in cls._kind.of_search}

    @classmethod
    def opened(
        cls,
        items: NDArray[np.float32],
        database: VectorDatabase,
        collection: str,
        columns: Columns | None,
        **parameters: int,
    ) -> Self:
        """Return the index of a complete collection.

        Raises:
            BundleError: the collection has another number of items.
            IndexUnavailable: the database does not answer, or doesn't have it.
        """
        count = database.count(collection)
        if count != len(items):
            raise BundleError(
                f"the collection {collection} of {database.address} must have the bundle's {len(items):,} "
                f"items; it has {count:,}. Publish the run again"
            )
        given = cls.chosen(cls._kind.given({**database.built(collection), **parameters}), len(items))
        return cls(items, given, database, collection, columns)

    def check(self) -> None:
        """Check that the database answers and has the collection."""
        self.database.check(self.collection)

    @property
    def memory(self) -> int:
        """Bytes besides the item vectors: a copy of them if the database is in this process."""
        return self.items.nbytes if self.database.local else 0

    def _found(
        self,
        users: NDArray[np.float32],
        k: int,
        seen: Lists,
        rows: NDArray[np.int32] | None,
        where: Where | None,
    ) -> Candidates:
        conditions, rest = self._split(where)
        if rest is not None:
            rows = rest.among(rows)
        top = Candidates.empty(len(users), k)
        share, allowed = 1.0, None
        if rows is not None:
            others = np.ones(self.n_items, dtype=np.bool_)
            others[rows] = False
            if rows.size == 0:
                return top
            allowed = ~others
            apart = 2 * rows.size > self.n_items
            named = np.flatnonzero(others).astype(np.int32) if apart else rows
            if named.size <= _SENT:
                conditions.append(self.database.among(named, apart=apart))
            else:
                share = rows.size / self.n_items
        ask = _Question(self, users, k, seen, allowed, conditions, share)
        finite = np.isfinite(users.sum(axis=1, dtype=np.float64))
        short = [np.flatnonzero(~finite)]  # databases don't define what they do with NaN
        for start in range(0, len(users), _USERS):
            some = start + np.flatnonzero(finite[start : start + _USERS])
            short.append(ask.answered(some, top))
        left = np.concatenate(short)
        if left.size:
            if where is not None and rest is None:
                rows = where.among(rows)
            exact = scan(users[left], self.items, k, seen.of(left), rows)
            top.items[left], top.scores[left] = exact.items, exact.scores
        return top

    def _split(self, where: Where | None) -> tuple[list[str], Where | None]:
        """Return the conditions in the database's language, or the whole if one of them has none there."""
        if where is None:
            return [], None
        found = [
            self.database.condition(self.columns, name, choice) for name, choice in where.conditions.items()
        ]
        return ([], where) if None in found else ([one for one in found if one], None)

    def _search(
        self, users: NDArray[np.float32], k: int, seen: Lists, rows: NDArray[np.int32] | None
    ) -> Candidates:
        return self._found(users, k, seen, rows, None)

    @classmethod
    def _build(cls, items: NDArray[np.float32], parameters: Any) -> Self:
        """Fill a collection of this process, which goes with the last index that has it."""
        database, given = cls.kind.embedded(), cls.chosen(parameters, len(items))
        collection = f"items_{uuid4().hex}"
        ids = pl.Series(np.arange(len(items)))
        temporary = _Temporary(database, collection)
        parts = Items(items, ids, Columns(pl.DataFrame()))
        database.fill(collection, parts, cls._as_dict(given), lambda done: None)
        return cls(items, given, database, collection, temporary=temporary)

    @staticmethod
    def _as_dict(parameters: Any) -> dict[str, int]:
        return dict(vars(parameters))

    def _payload(self) -> bytes:
        """Return where the collection is; nothing for one of this process, which is filled again."""
        if self._temporary is not None:
            return b""
        return json.dumps({"address": str(self.database.address), "collection": self.collection}).encode()

    @classmethod
    def _restore(cls, items: NDArray[np.float32], parameters: Any, payload: bytes) -> Self:
        if not payload:
            return cls._build(items, parameters)
        where = json.loads(payload)
        return cls.opened(
            items, database_at(where["address"]), where["collection"], None, **cls._as_dict(parameters)
        )


class _Question:
    """One search: the users, what they may be given, and how it is asked."""

    def __init__(
        self,
        index: PublishedIndex,
        users: NDArray[np.float32],
        k: int,
        seen: Lists,
        allowed: NDArray[np.bool_] | None,
        conditions: list[str],
        share: float,
    ) -> None:
        self.index, self.users, self.k, self.seen = index, users, k, seen
        self.allowed, self.conditions, self.share = allowed, conditions, share

    def answered(self, some: NDArray[np.int64], top: Candidates) -> NDArray[np.int64]:
        """Write the answers of some users into ``top``, and return those whose list is short.

        Several users are asked for at once, each with as many items more as the longest list of seen ones. A
        user alone, and one for whom that was not enough, is asked for without what was seen. Whoever has seen
        most items is left to the scan.
        """
        size = np.diff(self.seen.indptr)
        scanned = 2 * size[some] > self.index.n_items
        short: list[int] = some[scanned].tolist()
        some = some[~scanned]
        alone = some.tolist()
        if len(some) > 1:
            left, more = self._asked(some, int(size[some].max()), self.conditions, top)
            again = more & (size[left] > 0)
            short += left[~again].tolist()
            alone = left[again].tolist()
        for user in alone:
            seen, conditions, extra = np.unique(self.seen[user]), self.conditions, 0
            if seen.size > _SENT:
                extra = seen.size
            elif seen.size:
                conditions = [*conditions, self.index.database.among(seen, apart=True)]
            left, _ = self._asked(np.array([user]), extra, conditions, top)
            short += left.tolist()
        return np.array(short, dtype=np.int64)

    def _asked(
        self, some: NDArray[np.int64], extra: int, conditions: list[str], top: Candidates
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ask once for k items and ``extra`` each; write the lists into ``top``.

        Returns:
            The users whose list is short, and whether the database had as many items as were asked for.
        """
        index = self.index
        wanted = int((self.k + extra) * (1 if self.share == 1 else 1.5 / self.share)) + _MORE
        fetch = min(wanted, index.n_items, index.database.most)
        if fetch < min(self.k, index.n_items):
            return some, np.zeros(len(some), dtype=np.bool_)
        users = self.users[some]
        found = index.database.nearest(index.collection, users, fetch, conditions, index.parameters())
        part = rescore(users, index.items, self.k, self.seen.of(some), self.allowed, found)
        top.items[some], top.scores[some] = part.items, part.scores
        short = part.items[:, -1] < 0
        return some[short], found[short, -1] >= 0


def open_index(
    address: str, items: NDArray[np.float32], display: pl.DataFrame, version: str, *others: str
) -> PublishedIndex:
    """Return the index of a bundle that was published at an address.

    Args:
        address: such as ``milvus://HOST/COLLECTION``.
        items: the bundle's item vectors (n_items, dim).
        display: its display columns.
        version: the first 12 digits of its hash.
        others: versions of bundles with the same items, which do as well.

    Raises:
        ConfigError: it is not an address.
        BundleError: this version was not published there.
        IndexUnavailable: the database does not answer.
        MissingExtraError: the library of the database is not installed.
    """
    database = database_at(address)
    versions = database.versions()
    complete = {one.version for one in versions if one.complete}
    found = next((one for one in (version, *others) if one in complete), None)
    if found is None:
        current = next((one.version for one in versions if one.current), "none")
        raise BundleError(
            f"{database.address} must have the bundle's version, {version}; its current version is "
            f"{current}. Publish this run: twotower publish RUN {database.address}"
        )
    kind: type[PublishedIndex] = INDEXES[database.address.scheme]  # type: ignore[assignment]
    return kind.opened(items, database, database.name_of(found), Columns(display))


class _Temporary:
    """A collection that is removed when nothing refers to this object any more."""

    def __init__(self, database: VectorDatabase, collection: str) -> None:
        weakref.finalize(self, _removed, database, collection)


def _removed(database: VectorDatabase, collection: str) -> None:
    try:
        database.remove(collection)
    except Exception:  # the process ends, and the file with it
        return
