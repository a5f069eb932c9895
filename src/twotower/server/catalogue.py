"""`Catalogue`: the trained items and those added or removed since, numbered together.

Rows below ``n_trained`` are the model's, in its order; the rows after are items put since. A trained item
that was put again has a new row, and its old one is hidden, as are those taken away. A catalogue is never
changed: a change makes another one, which shares all that is large.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.vocabulary import Vocabulary
from twotower.ranking.pool import Pool
from twotower.recommender import Recommender
from twotower.recommender.display import FilterError, meets
from twotower.recommender.plane import Plane, plane
from twotower.retrieval import Candidates, exact_top_k
from twotower.retrieval.filters import Where
from twotower.server.errors import ApiError
from twotower.server.inputs import Id, plain_filters
from twotower.server.request_models import Choice
from twotower.server.texts import searchable
from twotower.towers import SideArrays

F32 = NDArray[np.float32]
Rows = NDArray[np.int32]
NO_ROWS = np.empty(0, dtype=np.int32)
MAPPED = 5_000
"""Items on the map; of a larger catalogue, every n-th."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The items of a model, in the forms that requests need, each made on first use.

    Attributes:
        recommender: the model.
    """

    recommender: Recommender

    @cached_property
    def ids(self) -> Vocabulary:
        """The ids of the model's items."""
        return self.recommender.items

    @cached_property
    def _table(self) -> pl.DataFrame:
        return self.recommender.display.drop(self.recommender.encoder.schema.item)

    @cached_property
    def display(self) -> dict[str, list[Any]]:
        """Each display column as a list, nan as None: JSON has no word for it."""
        return {
            column.name: (column.fill_nan(None) if column.dtype.is_float() else column).to_list()
            for column in self._table
        }

    @cached_property
    def types(self) -> dict[str, pl.DataType]:
        """The display columns' types."""
        return dict(self._table.schema)

    @cached_property
    def plane(self) -> Plane:
        """The plane of the map; of a large catalogue, that of every n-th item."""
        directions = self.recommender.item_directions
        return plane(directions[:: max(1, -(-len(directions) // MAPPED))])

    @cached_property
    def searchable(self) -> pl.DataFrame:
        """The text that a search looks at, see `texts.searchable`."""
        own = self.recommender
        return searchable(self._table, own.item_ids, np.bincount(own.seen.values, minlength=len(self.ids)))


@dataclass(frozen=True, eq=False)
class LiveItem:
    """An item added since training.

    Attributes:
        id: as the model writes ids.
        display: its display columns.
        vector: float32 (dim,).
        arrays: one row, what the item tower reads of it.
        duration: seconds or whatever the schema's duration column holds; nan where not known.
    """

    id: Id
    display: dict[str, Any]
    vector: F32
    arrays: SideArrays
    duration: float = float("nan")


@dataclass(frozen=True, eq=False)
class Catalogue:
    """All current items.

    Attributes:
        trained: the model's.
        live: the items put since, in the order of their rows.
        rows: rows of live items by id.
        moved: the trained row of a live item that the model knew, by live row.
        hidden: int32, trained and live rows that are never recommended.
        gone: ids taken away.
        vectors: float32 (live, dim) of the live items.
        directions: float32 (live, width) of the live items.
    """

    trained: Trained
    live: tuple[LiveItem, ...] = ()
    rows: Mapping[Id, int] = field(default_factory=dict)
    moved: Mapping[int, int] = field(default_factory=dict)
    hidden: Rows = field(default_factory=lambda: NO_ROWS)
    gone: frozenset[Id] = frozenset()
    vectors: F32 | None = None
    directions: F32 | None = None

    @cached_property
    def n_trained(self) -> int:
        """Number of rows of the model."""
        return len(self.trained.ids)

    def __len__(self) -> int:
        return self.n_trained + len(self.live) - len(self.hidden)

    def row(self, given: Id, *, gone: bool = False) -> int | None:
        """Return an item's row; None if there is none. With ``gone`` also of a removed one."""
        name = self.trained.ids.native(given)
        if name in self.gone and not gone:
            return None
        found = self.rows.get(name)
        return self.trained.ids.index.get(name) if found is None else found

    def id(self, row: int) -> Id:
        """Return the id of a row."""
        known: Id = (
            self.trained.ids.known[row] if row < self.n_trained else self.live[row - self.n_trained].id
        )
        return known

    def display(self, row: int) -> dict[str, Any]:
        """Return the display columns of a row."""
        if row >= self.n_trained:
            return self.live[row - self.n_trained].display
        return {name: values[row] for name, values in self.trained.display.items()}

    def vectors_of(self, rows: NDArray[np.integer[Any]]) -> F32:
        """Return the vectors of rows, (n, dim)."""
        own = self.trained.recommender.items.vectors
        if self.vectors is None or (rows < self.n_trained).all():
            return np.ascontiguousarray(own[rows])
        found = np.empty((len(rows), own.shape[1]), dtype=np.float32)
        late = rows >= self.n_trained
        found[~late], found[late] = own[rows[~late]], self.vectors[rows[late] - self.n_trained]
        return found

    def changed(
        self, put: Sequence[LiveItem] = (), gone: Iterable[Id] = (), back: Iterable[Id] = ()
    ) -> Catalogue:
        """Return the catalogue after changes.

        Args:
            put: items that are new, or in the place of earlier ones.
            gone: ids taken away.
            back: ids of the model's own items that are there again as they were trained.
        """
        live = {item.id: item for item in self.live}
        for item in put:
            live.pop(item.id, None)  # to the end, so that the newest has the highest row
            live[item.id] = item
        for name in back:
            live.pop(name, None)
        away = (self.gone | frozenset(gone)) - {item.id for item in put} - frozenset(back)
        kept = tuple(live.values())
        own, first = self.trained.ids.index, self.n_trained
        rows = {item.id: first + place for place, item in enumerate(kept)}
        hidden = [rows[name] for name in away if name in rows]
        hidden += [own[name] for name in {*away, *rows} if name in own]
        moved = {own[name]: row for name, row in rows.items() if name in own}
        vectors = np.stack([item.vector for item in kept]) if kept else None
        return Catalogue(
            self.trained,
            kept,
            rows,
            moved,
            np.sort(np.array(hidden, dtype=np.int32)) if hidden else NO_ROWS,
            away,
            vectors,
            None if vectors is None else self.trained.recommender.directions(vectors),
        )

    def now(self, rows: Rows) -> Rows:
        """Return the current rows of rows of the model: items that were added again have another one."""
        if not self.moved:
            return rows
        return np.array([self.moved.get(row, row) for row in rows.tolist()], dtype=np.int32)

    def filtered(self, filters: Mapping[str, Choice], most: int) -> Rows:
        """Return the rows whose display columns meet all filters, ascending.

        Raises:
            ApiError: a column is unknown, or does not support its condition.
        """
        where = self.where(filters, most)
        return np.concatenate([where.rows(), self.n_trained + self._late(where)])

    def where(self, filters: Mapping[str, Choice], most: int) -> Where:
        """Return filters, checked, for a search; raises as `filtered`."""
        asked = plain_filters(filters, self.trained.types, most)
        try:
            return self.trained.recommender.column_filters.where(asked)
        except FilterError as error:
            raise ApiError(422, str(error), f"filters.{error.column}") from None

    def _late(self, where: Where) -> Rows:
        """Return the places of the live items that meet filters."""
        met = [meets(item.display, where.conditions, self.trained.types) for item in self.live]
        return np.flatnonzero(met).astype(np.int32)

    def search(
        self, users: F32, k: int, barred: Lists, allow: Rows | None, where: Where | None = None
    ) -> Candidates:
        """Return each user's best k.

        Args:
            users: float32 (n, dim).
            k: at least 1.
            barred: rows that each user is never given.
            allow: the candidates; None for all.
            where: filters that they must meet; None for none.
        """
        search = partial(self.trained.recommender.search, where=where)
        if not self.live and not len(self.hidden):
            return search(users, k, seen=barred, allow=allow)
        late = None if where is None else self._late(where)
        return self._found(search, users, self.vectors, k, with_each(barred, self.hidden), allow, late)

    @cached_property
    def trained_rows(self) -> NDArray[np.int64]:
        """The model's row of each row, int64 (n,): of items that were put again the one they were trained
        with, and -1 for new ones."""
        rows = np.arange(self.n_trained + len(self.live))
        rows[self.n_trained :] = -1
        for trained, now in self.moved.items():
            rows[now] = trained
        return rows

    def pool(self, barred: Lists, allow: Rows | None, where: Where | None) -> Pool:
        """Return what may be given, as `search` takes it."""
        if where is not None:
            own = None if allow is None else allow[allow < self.n_trained]
            late = self.n_trained + self._late(where)
            allow = np.concatenate([where.among(own), late if allow is None else np.intersect1d(allow, late)])
        rows = self.trained_rows if self.live else None
        return Pool(self.n_trained, rows, with_each(barred, self.hidden), allow)

    def similar(self, row: int, k: int, allow: Rows | None = None, deny: Rows = NO_ROWS) -> Candidates:
        """Return the k items most like one, itself not among them; scores are cosines.

        Args:
            row: of the item.
            k: at least 1.
            allow: the candidates; None for all.
            deny: rows that are not given.
        """
        own = self.trained.recommender
        unit = own.directions(self.vectors_of(np.array([row])))
        barred = Lists.from_groups([np.concatenate([self.hidden, deny, [row]])])

        def search(asked: F32, k: int, **how: Any) -> Candidates:
            return exact_top_k(asked, own.item_directions, k, **how)

        return self._found(search, unit, self.directions, k, barred, allow)

    def _found(
        self,
        search: Callable[..., Candidates],
        asked: F32,
        live: F32 | None,
        k: int,
        barred: Lists,
        allow: Rows | None,
        met: Rows | None = None,
    ) -> Candidates:
        """Return the best k of the model's items, which ``search`` finds, and of the live ones, of which
        ``met`` are the candidates, None for all.
        """
        n = self.n_trained
        first, late = split(barred, n)
        own, more = (None, None) if allow is None else (allow[allow < n], allow[allow >= n] - n)
        top = search(asked, k, seen=first, allow=own)
        if live is None:
            return top
        if met is not None:
            more = met if more is None else np.intersect1d(more, met)
        return top.merged(exact_top_k(asked, live, min(k, len(live)), seen=late, allow=more), n, k)


def with_each(lists: Lists, rows: Rows) -> Lists:
    """Return the lists with the same further rows in each."""
    if not len(rows):
        return lists
    return Lists.from_groups([np.concatenate([lists[user], rows]) for user in range(len(lists))])


def split(lists: Lists, at: int) -> tuple[Lists, Lists]:
    """Return the lists of rows below ``at``, and those of the other rows, counted from ``at``."""
    below = lists.values < at
    late = lists.where(~below)
    return lists.where(below), Lists(late.indptr, (late.values - at).astype(np.int32))
