"""`Queries`: many queries as columns, as a model answers them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Id, Ids, as_series
from twotower.core.reprs import html_of, shortened, text_of
from twotower.core.wording import count_of
from twotower.data.dataset import Frame, to_polars
from twotower.errors import ConfigError, DataError, nearest
from twotower.recommender.query import PARTS, Query, check_before, check_seconds

F64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """What each of n queries brings of its past, one list after another.

    Attributes:
        given: bool (n,), whether the query brings a history; it may be empty.
        indptr: int64 (n + 1,): query ``q`` has the entries ``indptr[q]:indptr[q + 1]``.
        items: ids (m,).
        labels: float64 (m,) in the label's own units, nan for items that are only known to be liked; None
            without any label.
        times: float64 (m,) seconds since 1970-01-01 UTC, nan where not said; None without any.
    """

    given: NDArray[np.bool_]
    indptr: Rows
    items: pl.Series
    labels: F64 | None = None
    times: F64 | None = None


class Features(NamedTuple):
    """Features of some queries.

    Attributes:
        places: int64 (k,), of these queries.
        table: a row each, the columns of the users table; without columns for those of whom nothing is known.
        apart: whether each row is read as if it came alone. How a text is read as a number depends on the
            other values of its column, and rows that came as dicts are no column.
        checked: whether the table is one of a `Dataset`, with every column of the schema read.
    """

    places: Rows
    table: pl.DataFrame
    apart: bool = False
    checked: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class Queries:
    """Many queries as columns; what `Query` is for one. `Queries.of` builds it.

    >>> len(Queries.of([14, Query(history=[3649, 2267])]))
    2

    Attributes:
        n: how many.
        users: ids (n,), null for a query without one; None if none has one.
        history: what they bring of their past; None if none does.
        features: tables of features. No query is in two of them.
        at: float64 (n,) seconds since 1970-01-01 UTC, when each is asked, nan for now; None for all now.
        context: tables of what is known of requests. No query is in two of them.
        numbered: whether answers say the place of the query; not needed of known users who are asked about
            by their ids alone.
    """

    n: int
    users: pl.Series | None = None
    history: History | None = None
    features: tuple[Features, ...] = ()
    at: F64 | None = None
    context: tuple[Features, ...] = ()
    numbered: bool = True

    @classmethod
    def of(cls, asked: Any = None, *, features: Frame | None = None) -> Queries:
        """Build from whatever says who asks.

        Args:
            asked: one or several ids; a `Query`; a list of both; or a table with a row a query, whose columns
                are named as the attributes of `Query`: ``user``, ``history``, ``labels``, ``times`` (lists),
                ``features`` and ``context`` (structs; null where none are given) and ``at`` (seconds, or a
                datetime, which without a zone is UTC). Columns may be left out.
            features: a row a query of the users table's columns, of users whom the model doesn't know; only
                beside their ids, or alone.

        Raises:
            ConfigError: nobody is asked about, or a row of a table has no user, history or features.
            DataError: a part is not of its form; see `Query`.
        """
        if features is not None:
            table = to_polars(features)
            users = None if asked is None else as_series(asked, "users")
            if users is not None and len(users) != table.height:
                raise DataError(
                    f"there must be a row of features for each of the {len(users)} users, got {table.height}"
                )
            if not table.height:
                raise DataError("new users need at least one row of features, got none")
            return cls(table.height, users, features=(Features(np.arange(table.height), table),))
        if isinstance(asked, Queries):
            return asked
        if isinstance(asked, Query):
            return _of_list([asked])
        if isinstance(asked, Iterator):
            asked = list(asked)
        if isinstance(asked, Sequence) and any(isinstance(one, Query) for one in asked):
            return _of_list([one if isinstance(one, Query) else Query(user=one) for one in asked])
        if type(asked).__name__ in ("DataFrame", "LazyFrame"):
            return _of_table(to_polars(asked))
        ids = as_series(asked, "users")
        return cls(_some(len(ids)), ids, numbered=False)

    @property
    def described(self) -> NDArray[np.bool_]:
        """Whether each query has features, bool (n,)."""
        described = np.zeros(self.n, dtype=np.bool_)
        for part in self.features:
            described[part.places] = True
        return described

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return text_of(*self._facts())

    def _repr_html_(self) -> str:
        return html_of(*self._facts())

    def _facts(self) -> tuple[str, Mapping[str, str | None]]:
        history = self.history
        past = None if history is None else f"{history.given.sum():,}, {len(history.items):,} items"
        return f"Queries: {self.n:,}", {
            "users": None if self.users is None else f"{len(self.users) - self.users.null_count():,}",
            "histories": past,
            "features": f"{self.described.sum():,}" if self.features else None,
            "context": f"{sum(len(part.places) for part in self.context):,}" if self.context else None,
            "at": None if self.at is None else f"{np.isfinite(self.at).sum():,}",
        }


Users = Ids | Query | Sequence[Id | Query] | Queries
"""Who asks: ids of known users, a `Query`, a list of both, or `Queries`."""


def alike(rows: Sequence[Mapping[str, Any]]) -> list[Features]:
    """Return rows of features that came as dicts as tables: one for those of the same columns and types.

    Raises:
        DataError: a value that a table can't hold.
    """
    groups: dict[Any, list[int]] = {}
    for place, row in enumerate(rows):
        types = tuple(sorted((name, _type(value)) for name, value in row.items()))
        groups.setdefault(types, []).append(place)
    found = []
    for places in groups.values():
        columns = {name: [rows[place][name] for place in places] for name in rows[places[0]]}
        try:
            table = pl.DataFrame(columns)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            raise DataError(
                "a feature is a plain value or a list of values of one kind, got "
                f"{shortened(rows[places[0]])}"
            ) from None
        found.append(Features(np.array(places, dtype=np.int64), table, apart=True))
    return found


def _type(value: object) -> str:
    inside = sorted({type(one).__name__ for one in value}) if isinstance(value, list) else ()
    return ",".join((type(value).__name__, *inside))


def _some(n: int) -> int:
    if not n:
        raise ConfigError("there must be at least one user, got none")
    return n


def _of_list(queries: Sequence[Query]) -> Queries:
    users, history, at = None, None, None
    if any(query.user is not None for query in queries):
        users = as_series([query.user for query in queries], "users")
    if any(query.history is not None for query in queries):
        lengths = np.array([len(query.items) for query in queries])
        history = History(
            np.array([query.history is not None for query in queries]),
            np.append(0, np.cumsum(lengths)),
            as_series([item for query in queries for item in query.items], "items"),
            _each([query.labels for query in queries], lengths),
            _each([query.times for query in queries], lengths),
        )
    features = _placed([query.features for query in queries])
    context = _placed([query.context for query in queries])
    if any(query.at is not None for query in queries):
        at = np.array([query.at for query in queries], dtype=np.float64)  # None is nan
    return Queries(len(queries), users, history, features, at, context)


def _placed(given: Sequence[Mapping[str, Any] | None]) -> tuple[Features, ...]:
    """Return the rows that are given as tables."""
    places = [place for place, row in enumerate(given) if row is not None]
    parts = alike([row for row in given if row is not None])
    return tuple(part._replace(places=np.array(places)[part.places]) for part in parts)


def _each(lists: Sequence[Any], lengths: Rows) -> F64 | None:
    """Return what is said of the items of all histories, nan where nothing is; None if nothing is at all."""
    if all(own is None for own in lists):
        return None
    rows = [[np.nan] * n if own is None else own for own, n in zip(lists, lengths, strict=True)]
    values = np.array([one for own in rows for one in own], dtype=np.float64)  # None is nan
    return values if np.isfinite(values).any() else None


def _of_table(table: pl.DataFrame) -> Queries:
    for name in table.columns:
        if name not in PARTS:
            raise DataError(
                f"columns of queries are {', '.join(PARTS)}; got {name!r}.{nearest(name, PARTS)} Columns of "
                "the users table go into one column, features=pl.struct('age', ...)"
            )
    n = _some(table.height)
    columns = {name: table.get_column(name) for name in table.columns}
    users = columns.get("user")
    if users is not None:
        users = as_series(users, "users")
    history = _history_of(columns, n)
    features, context = (_structs(columns.get(name), name) for name in ("features", "context"))
    described = np.zeros(n, dtype=np.bool_)
    for part in features:
        described[part.places] = True
    at = None if "at" not in columns else _numbers(columns["at"], "at")
    empty = ~described
    if users is not None:
        empty &= users.is_null().to_numpy()
    if history is not None:
        empty &= ~history.given
    if empty.any():
        raise ConfigError(
            f"each query needs a user, a history or features, got none of them in row {int(np.argmax(empty))}"
        )
    if at is not None and history is not None and history.times is not None:
        for place in np.flatnonzero(np.isfinite(at)):
            check_before(history.times[history.indptr[place] : history.indptr[place + 1]], at[place])
    return Queries(n, users, history, features, at, context)


def _structs(column: pl.Series | None, name: str) -> tuple[Features, ...]:
    """Return the rows of a column that are not null, as a table."""
    if column is None:
        return ()
    if not isinstance(column.dtype, pl.Struct):
        raise DataError(
            f"{name} are a column of structs, pl.struct('age', ...), got a column of {column.dtype}"
        )
    places = np.flatnonzero(column.is_not_null().to_numpy())
    return (Features(places, column.gather(places).struct.unnest()),) if len(places) else ()


def _history_of(columns: Mapping[str, pl.Series], n: int) -> History | None:
    """Return the histories of a table's rows.

    Raises:
        ConfigError, DataError: a column is not of its form.
    """
    history = columns.get("history")
    if history is None:
        for name in ("labels", "times"):
            if name in columns:
                raise ConfigError(f"{name} are those of the history, got {name} alone; give the history too")
        return None
    if not isinstance(history.dtype, pl.List):
        raise DataError(f"history is a column of lists of item ids, got a column of {history.dtype}")
    lengths = history.list.len().fill_null(0).to_numpy().astype(np.int64)
    items = _flat(history, lengths)
    if items.null_count():
        raise DataError("history holds item ids, got null; leave it out")
    values = {}
    for name in ("labels", "times"):
        if name not in columns:
            continue
        own = columns[name]
        if not isinstance(own.dtype, pl.List):
            raise DataError(f"{name} are a column of lists, one entry an item, got a column of {own.dtype}")
        length = own.list.len()
        wrong = (length.is_not_null() & (length != pl.Series(lengths))).to_numpy()
        if wrong.any():
            place = int(np.argmax(wrong))
            raise DataError(
                f"there must be one of the {name} for each of the {count_of(int(lengths[place]), 'item')} of "
                f"the history, got {length[place]} in row {place}"
            )
        said = np.repeat(length.is_not_null().to_numpy(), lengths)
        values[name] = np.full(len(items), np.nan)
        values[name][said] = _numbers(_flat(own, lengths), name)
    return History(
        history.is_not_null().to_numpy(),
        np.append(0, np.cumsum(lengths)),
        as_series(items, "items"),
        values.get("labels"),
        values.get("times"),
    )


def _flat(lists: pl.Series, lengths: Rows) -> pl.Series:
    return lists.filter(pl.Series(lengths > 0) & lists.is_not_null()).explode()


def _numbers(values: pl.Series, name: str) -> F64:
    """Return numbers, or times as seconds since 1970-01-01 UTC, nan for null.

    Raises:
        DataError: they are of another kind, or not finite.
    """
    if isinstance(values.dtype, pl.Datetime | pl.Date):
        values = values.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
    if not values.dtype.is_numeric() or not values.cast(pl.Float64).drop_nulls().is_finite().all():
        raise DataError(f"{name} are finite numbers, or null, got {shortened(values.to_list())}")
    found = values.cast(pl.Float64)
    if name in ("times", "at"):
        for time in (found.max(), found.min()):
            if isinstance(time, float):
                check_seconds(time)
    return found.fill_null(np.nan).to_numpy()
