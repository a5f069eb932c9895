"""`build`: a training set on disk, and its validation and test set, from tables of any size.

In passes over the interactions, each of which needs a fixed part of memory and at most some 10 bytes for each
of them: read and check, find duplicates in groups of users, split, write by user. The sets have the very rows
that `twotower.data.splitting` gives in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from twotower.config.schema import Schema
from twotower.core.where import Found
from twotower.data.dataset import Dataset
from twotower.data.fingerprint import fingerprint_begun, fingerprint_ended
from twotower.data.grouped import columns_of
from twotower.data.merged import arranged, refuse_long_form
from twotower.data.sides import side_of, with_duration
from twotower.data.splits.column import Column
from twotower.data.splits.streamed import StreamedHoldOut
from twotower.data.splitting import TEST, VALIDATION, alike, check_cut, check_schemas, generator, untimed_note
from twotower.data.store.buckets import Buckets, by_user_and_time
from twotower.data.store.ingest import CODES, Ingest
from twotower.data.store.repeats import merge_repeats
from twotower.data.store.rows import SortedIds, SpilledRows
from twotower.data.store.spill import TRAIN, Spill
from twotower.data.store.writing import StoreWriter
from twotower.data.streaming.source import Batch


@dataclass(frozen=True)
class Cut:
    """A hold-out: its method, the share of the rows left, and the set that it makes."""

    holder: StreamedHoldOut
    share: float
    part: str


@dataclass(frozen=True)
class Tables:
    """The tables that a store is built from.

    Attributes:
        interactions: the name of each set -> name of the table, and a function that reads it in batches;
            ``train`` alone, if the sets are still to be made.
        users, items: tables as they are read, or None.
        schema: of all of them.
        names: names of the tables of users and items, for messages.
        column: the split method that reads the set of a row from a column, if that is the method.
    """

    interactions: Mapping[str, tuple[str, Callable[[], Iterable[Batch]]]]
    users: pl.DataFrame | None
    items: pl.DataFrame | None
    schema: Schema
    names: Mapping[str, str]
    column: Column | None = None


@dataclass(frozen=True)
class Built:
    """What is not in the store of the training set.

    Attributes:
        users, items: the tables.
        schema: with what was detected.
        sets: the validation and test set, in memory.
        notes: of the training set.
        hash: the fingerprint of all sets.
    """

    users: pl.DataFrame
    items: pl.DataFrame
    schema: Schema
    sets: Mapping[str, Dataset]
    notes: tuple[str, ...]
    hash: str


def build(
    tables: Tables,
    folder: Path,
    scratch: Path,
    cuts: Callable[[Schema, frozenset[str]], list[Cut]],
    seed: int,
    repeats: str,
) -> Built:
    """Write a store of the training set to ``folder``; ``scratch`` is for files that are deleted at the end.

    Args:
        tables: to read.
        folder: of the store.
        scratch: a folder that exists.
        cuts: gives the hold-outs, in order, from the schema and the names of the sets that there are.
        seed: of the hold-outs.
        repeats: how contradicting rows are merged.

    Raises:
        DataError: as `Dataset.of`, `split_three` and `parts_of`.
        Unsettled: a table must be read as a whole.
    """
    for given, wanted, name in (
        (tables.users, tables.schema.users, "users"),
        (tables.items, [*tables.schema.items, *tables.schema.display], "items"),
    ):
        if given is not None:
            refuse_long_form(given, wanted, tables.names[name])
    spill = Spill(scratch)
    parts, ingest = _read(tables, spill, repeats)
    schema, users, items = parts["train"].schema, parts["train"].users, parts["train"].items
    types = parts["train"].interactions.schema
    ids = {
        "user": SortedIds(ingest.users.ids.cast(types[schema.user])),
        "item": SortedIds(ingest.items.ids.cast(types[schema.item])),
    }
    notes = {name: part.notes for name, part in parts.items()}
    del ingest
    sizes = np.empty(len(ids["user"].ids), dtype=np.int64)
    sizes[ids["user"].place] = spill.per_id(None, "user", len(sizes))
    buckets = Buckets(spill, ids["user"].place, ids["item"].place, sizes)
    for name, said in merge_repeats(spill, buckets, ids, schema, repeats).items():
        notes[name] += tuple(said)
    _split(spill, ids, cuts(schema, frozenset(notes)), schema, seed, notes)
    sets = {
        name: Dataset(_frame(spill, ids, schema, CODES[name]), users, items, schema, notes[name])
        for name in ("validation", "test")
    }
    columns: dict[str, Callable[[], Iterable[pl.Series]]] = {
        name: partial(_series, spill, ids, schema, TRAIN, role)
        for role, name in _roles(spill, schema).items()
    }
    found = fingerprint_begun(schema).blocks("train", spill.counts(TRAIN), columns)
    total = fingerprint_ended(found, users, items, schema, **sets)
    kept = {side: spill.per_id(TRAIN, side, len(of.place)) for side, of in ids.items()}
    sets_of_rows = spill.part
    spill.close()
    _write(buckets, sets_of_rows, ids, kept, folder)
    buckets.close()
    return Built(users, items, schema, sets, notes["train"], total)


def _read(tables: Tables, spill: Spill, repeats: str) -> tuple[dict[str, Dataset], Ingest]:
    """Read the interactions; return each set without its rows, and the ids."""
    streams = {name: (source, iter(batches())) for name, (source, batches) in tables.interactions.items()}
    source, batches = next(iter(streams.values()))
    begun = list(islice(batches, 1))  # the first batch
    names = {"interactions": source, **tables.names}
    columns = begun[0].frame.clear()
    if tables.column is not None:
        columns = columns.drop(tables.column.column)
    given = {"users": tables.users, "items": tables.items}
    schema, columns, *sides = arranged(tables.schema, columns, tables.users, tables.items, names)
    features = {
        side: [name for name in table.columns if name != ids]
        for side, ids, table in zip(given, (schema.user, schema.item), sides, strict=True)
        if table is not None and given[side] is None
    }
    given = dict(zip(given, sides, strict=True))
    ingest = Ingest(spill, schema, tables.column, repeats in ("mean", "sum"), features)
    found = {
        name: (source, ingest.read(chain(begun if name == "train" else (), batches), source, CODES[name]))
        for name, (source, batches) in streams.items()
    }
    spill.finish()
    if tables.column is not None:
        counts = {name: spill.counts(code) for name, code in CODES.items()}
        assert ingest.marks is not None
        tables.column.check_sets(ingest.marks, counts)
        one = found["train"]
        found = {name: one for name in CODES if counts[name]}
    parts = {}
    for name, (source, (of, merged)) in found.items():
        part = None if tables.column is not None else CODES[name]
        own = {**names, "interactions": source}
        parts[name] = _checked(ingest, spill, part, of, columns.columns, given | merged, own)
    check_schemas(parts)
    return dict(zip(parts, alike(list(parts.values())), strict=True)), ingest


def _checked(
    ingest: Ingest,
    spill: Spill,
    part: int | None,
    found: Found,
    columns: list[str],
    given: Mapping[str, pl.DataFrame | None],
    names: Mapping[str, str],
) -> Dataset:
    """Return a set without its rows: the tables of users and items, checked against its ids."""
    schema = ingest.schema.with_settings("context", found.settings)
    notes, tables = found.notes, dict[str, pl.DataFrame]()
    types: dict[str, pl.DataType] = {}
    features = with_duration(schema, columns, given["items"], names)
    for role, known in (("user", ingest.users), ("item", ingest.items)):
        counts = spill.per_id(part, role, len(known))
        ids = known.ids.alias(schema.user if role == "user" else schema.item).to_frame()
        present = counts > 0
        side = side_of(
            role, given[f"{role}s"], ids.filter(pl.Series(present)), schema, features, names, counts[present]
        )
        tables[role], schema = side.table, side.schema
        types |= dict(side.events.schema)
        notes = notes + side.notes
    return Dataset(pl.DataFrame(schema=types), tables["user"], tables["item"], schema, tuple(notes))


def _split(
    spill: Spill,
    ids: Mapping[str, SortedIds],
    cuts: list[Cut],
    schema: Schema,
    seed: int,
    notes: dict[str, tuple[str, ...]],
) -> None:
    """Move rows of the training set to the sets that are held out of it."""
    for cut in cuts:
        rows = SpilledRows(spill, ids["user"], ids["item"])
        stream = TEST if cut.part == "test" else VALIDATION
        held = cut.holder.held(rows, cut.share, generator(cut.holder, schema, seed, stream))
        count = int(held.sum())
        check_cut(cut.holder, cut.share, {"train": len(held) - count, cut.part: count})
        untimed = 0
        if cut.holder.by_time:
            untimed = sum(int(np.isnan(times).sum()) for (times,) in rows.blocks("time"))
        notes["train"] += tuple(untimed_note(cut.holder, untimed, notes["train"]))
        notes[cut.part] = notes["train"]
        rows.hold_out(held, CODES[cut.part])


def _roles(spill: Spill, schema: Schema) -> dict[str, str]:
    """Return the columns of the interactions by their place: user, item, and the roles."""
    known = {role: name for role, name in columns_of(schema).items() if role in spill.columns}
    return {"user": schema.user, "item": schema.item, **known}


def _series(
    spill: Spill, ids: Mapping[str, SortedIds], schema: Schema, part: int, role: str
) -> Iterator[pl.Series]:
    """Yield a column of a set as that of a `Dataset`, in the order of the files."""
    name = _roles(spill, schema)[role]
    for (values,) in spill.rows_of(part, role):
        if role in ids:
            yield ids[role].ids.gather(ids[role].place[values].astype(np.uint32)).alias(name)
        else:
            yield pl.Series(name, values.astype(np.float64)).fill_nan(None)


def _frame(spill: Spill, ids: Mapping[str, SortedIds], schema: Schema, part: int) -> pl.DataFrame:
    """Return the rows of a set."""
    return pl.DataFrame(
        [
            pl.concat(list(_series(spill, ids, schema, part, role)), rechunk=True)
            for role in _roles(spill, schema)
        ]
    )


def _write(
    buckets: Buckets,
    part: np.ndarray[Any, Any],
    ids: Mapping[str, SortedIds],
    counts: Mapping[str, np.ndarray[Any, Any]],
    folder: Path,
) -> None:
    """Write the training rows by user."""
    rows_of, names = {}, {}
    for side, of in ids.items():
        present = np.zeros(len(of.place), dtype=np.bool_)
        present[of.place] = counts[side] > 0
        rows_of[side] = (np.cumsum(present) - 1).astype(np.int32)
        names[side] = of.ids.filter(pl.Series(present))
    roles = [name for name in buckets.columns if name not in ("row", "user", "item")]
    dtypes = {role: buckets.columns[role].dtype for role in roles}
    total = int(counts["user"].sum())
    with StoreWriter.new(folder, names["user"], names["item"], total, dtypes) as writer:
        for bucket in buckets:
            mine = part[bucket.columns["row"]] == TRAIN
            columns = {name: values[mine] for name, values in bucket.columns.items() if name != "row"}
            user = columns["user"] - np.int32(bucket.first)
            order = by_user_and_time(user, columns.get("time"))
            of_users = np.bincount(user, minlength=bucket.last - bucket.first)
            writer.append(
                of_users[of_users > 0],
                rows_of["item"][columns["item"]][order],
                **{role: columns[role][order] for role in roles},
            )
