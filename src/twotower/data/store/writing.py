"""`StoreWriter`: writes `StoredEvents`, users in ascending order, block by block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.atomic import replacing_folder
from twotower.core.columns import ColumnWriter, digest, write_column
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import TrainPart
from twotower.data.grouped import columns_of
from twotower.data.store.layout import LAYOUT, ROLES, SIGN
from twotower.errors import ConfigError


def fitting(role: str, values: NDArray[np.float64]) -> np.dtype[Any]:
    """Return the smallest type of a column that has all of these values exactly; that of several parts is
    ``np.result_type`` of theirs.

    >>> fitting("label", np.array([0.5])).name, fitting("label", np.array([0.1])).name
    ('float32', 'float64')
    >>> fitting("time", np.array([3.0])).name, fitting("time", np.array([3.0, np.nan])).name
    ('uint32', 'float64')
    """
    if role == "time":
        with np.errstate(invalid="ignore"):
            whole = (values >= 0) & (values <= np.iinfo(np.uint32).max) & (values == np.floor(values))
        return np.dtype(np.uint32 if whole.all() else np.float64)
    with np.errstate(over="ignore"):
        same = (values.astype(np.float32) == values) | np.isnan(values)
    return np.dtype(np.float32 if same.all() else np.float64)


class StoreWriter:
    """Writes the files of a store; `new` gives one.

    Attributes:
        folder: where they are written.
    """

    def __init__(
        self,
        folder: Path,
        users: pl.Series,
        items: pl.Series,
        rows: int,
        dtypes: Mapping[str, np.dtype[Any]],
        files: ExitStack,
    ) -> None:
        self.folder, self._dtypes = folder, dict(dtypes)
        self._sizes = {"rows": rows, "users": len(users), "items": len(items)}
        for name, ids in (("users", users), ("items", items)):
            ids.alias("id").to_frame().write_parquet(folder / f"{name}.parquet")
        types = {"item": np.dtype(np.int32), **self._dtypes}
        self._columns = {
            name: files.enter_context(ColumnWriter(folder / f"{name}.npy", dtype, rows))
            for name, dtype in types.items()
        }
        self._counts: list[NDArray[np.int64]] = []

    @classmethod
    @contextmanager
    def new(
        cls,
        folder: Path,
        users: pl.Series,
        items: pl.Series,
        rows: int,
        dtypes: Mapping[str, np.dtype[Any]],
        facts: Mapping[str, Any] | None = None,
    ) -> Iterator[StoreWriter]:
        """Yield a writer of a new store, which replaces the one in ``folder`` once the block ends without an
        error and all is written; otherwise nothing is left.

        Args:
            folder: of the store.
            users: distinct user ids, ascending; each has interactions.
            items: the same of items.
            rows: number of interactions.
            dtypes: roles of `ROLES` -> type of the column; see `fitting`.
            facts: JSON values for the manifest.

        Raises:
            BundleError: something else is in ``folder``.
            OSError: the disk is full, for one.
        """
        assert set(dtypes) <= set(ROLES)
        with replacing_folder(folder, SIGN, "store of interactions") as temporary:
            with ExitStack() as files:
                writer = cls(temporary, users, items, rows, dtypes, files)
                yield writer
            writer.finish(facts or {})

    def append(self, counts: NDArray[np.integer], item: NDArray[Any], **columns: NDArray[Any]) -> None:
        """Write the interactions of the next users.

        Args:
            counts: (k,), the number of interactions of each of these users.
            item: (m,), item rows, user after user and in the order of a store.
            columns: role -> (m,); all roles of the store.
        """
        assert set(columns) == set(self._dtypes)
        self._counts.append(counts.astype(np.int64))
        for name, values in {"item": item, **columns}.items():
            assert len(values) == counts.sum()
            self._columns[name].append(values)

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write what is known once all columns are written, the manifest last."""
        counts = np.concatenate([np.empty(0, np.int64), *self._counts])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        if len(counts) != self._sizes["users"] or indptr[-1] != self._sizes["rows"]:
            raise ValueError(f"a store of {self._sizes} was given {len(counts)} users with {indptr[-1]} rows")
        write_column(self.folder / "indptr.npy", indptr)
        manifest = {
            "layout": LAYOUT,
            "sizes": self._sizes,
            "columns": {role: str(dtype) for role, dtype in self._dtypes.items()},
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": digest(path)}
                for path in sorted(self.folder.iterdir())
            },
            "facts": dict(facts),
        }
        (self.folder / SIGN).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def write_events(train: TrainPart, folder: Path) -> None:
    """Write the interactions of a training set that is in memory."""
    refuse_context(train)
    events, schema = train.interactions, train.schema
    users, items = (Vocabulary.distinct(events.get_column(column)) for column in (schema.user, schema.item))
    user, item = users.rows(events.get_column(schema.user)), items.rows(events.get_column(schema.item))
    columns = event_columns(events, columns_of(schema))
    order = time_order(user, columns.get("time"))
    dtypes = {role: fitting(role, values) for role, values in columns.items()}
    with StoreWriter.new(folder, users.ids, items.ids, len(events), dtypes) as writer:
        counts = np.bincount(user, minlength=len(users))
        writer.append(counts, item[order], **{role: values[order] for role, values in columns.items()})


def event_columns(events: pl.DataFrame, names: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """Return the columns of interactions in memory by role, nan where missing.

    Args:
        events: the interactions.
        names: role -> column, which need not be there.
    """
    return {
        role: events.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy()
        for role, name in names.items()
        if name in events.columns
    }


def time_order(user: NDArray[np.int64], time: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return the order of a store: by user, by time, as they are; without a time last."""
    return np.lexsort((user,) if time is None else (time, user))


def refuse_context(train: TrainPart) -> None:
    """Refuse a schema with columns of interactions that a store has no place for.

    Raises:
        ConfigError: it has.
    """
    names: Iterable[str] = train.schema.context
    if other := [name for name in names if name != train.schema.timestamp]:
        raise ConfigError(
            f"a store of interactions has no columns of the context, and [schema.context] has {other[0]!r}; "
            "keep the data in memory (data.store = 'never'), or leave the context out"
        )
