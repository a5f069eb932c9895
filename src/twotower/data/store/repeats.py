"""Duplicates in a spill: dropped and merged bucket by bucket, as `deduplicate` does it in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Schema
from twotower.data.duplicates import (
    Merging,
    MergingCounts,
    event_key,
    note_of_shared,
    notes_of_merging,
    repeated,
    rows_in,
)
from twotower.data.grouped import columns_of
from twotower.data.splits.column import SETS
from twotower.data.splitting import DISJOINT, check_rest
from twotower.data.store.buckets import Bucket, Buckets
from twotower.data.store.ingest import CODES
from twotower.data.store.rows import SortedIds
from twotower.data.store.spill import DROPPED, Spill


def merge_repeats(
    spill: Spill, buckets: Buckets, ids: Mapping[str, SortedIds], schema: Schema, repeats: str
) -> dict[str, list[str]]:
    """Drop duplicates in each set and merge contradicting rows, then drop rows that are in a later set too.

    Returns:
        Set -> notes.

    Raises:
        DataError: rows contradict each other, and ``repeats`` is ``refuse``; a set has no rows left.
    """
    sets = [name for name in CODES if spill.counts(CODES[name])]
    rows = {name: spill.counts(CODES[name]) for name in sets}
    merged: dict[str, list[MergingCounts]] = {name: [] for name in sets}
    shared = {pair: 0 for pair in DISJOINT if set(pair) <= set(sets)}
    for bucket in buckets:
        frame = _frame(bucket, schema)
        row = bucket.columns["row"].astype(np.int64)
        part = spill.part[row]
        for name in sets:
            mine = np.flatnonzero(part == CODES[name])
            some = repeated(frame[mine] if len(sets) > 1 else frame, schema)
            if not some.height:
                continue
            of_file = row[mine]
            found = Merging.of(some, schema, repeats)
            merged[name].append(_numbered(found.counts, spill, CODES[name], of_file, ids, schema))
            spill.part[of_file[found.dropped]] |= DROPPED
            if found.counts.repeats in ("mean", "sum") and found.kept.height:
                _rewrite(spill, buckets, bucket, mine, found.kept, schema)
        for earlier, later in shared:
            part = spill.part[row]
            mine, theirs = (np.flatnonzero(part == CODES[name]) for name in (earlier, later))
            keys = frame.select(event_key(schema))
            both = rows_in(keys[mine], keys[theirs])
            shared[earlier, later] += len(both)
            spill.part[row[mine[both]]] |= DROPPED
    notes = {name: notes_of_merging(schema, rows[name], merged[name]) for name in sets}
    left = {name: spill.counts(CODES[name]) for name in sets}
    before = {name: left[name] + sum(n for pair, n in shared.items() if pair[0] == name) for name in sets}
    for (earlier, later), count in shared.items():
        if count:
            words = (f"the {SETS[name]} set" for name in (earlier, later))
            notes[earlier].append(note_of_shared(schema, count, before[earlier], *words))
            before[earlier] -= count
    check_rest(left)
    return notes


def _frame(bucket: Bucket, schema: Schema) -> pl.DataFrame:
    """Return the role columns of a bucket: places of ids, and the values."""
    named = columns_of(schema)
    columns = [
        pl.Series(schema.user, bucket.columns["user"]),
        pl.Series(schema.item, bucket.columns["item"]),
    ]
    columns += [
        pl.Series(named[role], values.astype(np.float64)).fill_nan(None)
        for role, values in bucket.columns.items()
        if role in named
    ]
    return pl.DataFrame(columns)


def _rewrite(
    spill: Spill, buckets: Buckets, bucket: Bucket, mine: NDArray[Any], kept: pl.DataFrame, schema: Schema
) -> None:
    """Put computed labels and weights in place of those that were read."""
    places = mine[kept.get_column("_row").to_numpy()]
    for role in ("label", "weight"):
        if role in spill.columns:
            values = kept.get_column(columns_of(schema)[role]).to_numpy()
            column = bucket.columns[role]
            column[places] = values
            buckets.columns[role].write(bucket.start, column)
            spill.columns[role].scatter(bucket.columns["row"][places].astype(np.int64), values)


def _numbered(
    counts: MergingCounts,
    spill: Spill,
    part: int,
    of_file: NDArray[np.int64],
    ids: Mapping[str, SortedIds],
    schema: Schema,
) -> MergingCounts:
    """Return the counts with the refused rows as they are told: ids, and rows numbered as in the set."""
    if not counts.refused.height:
        return counts
    rows = of_file[counts.refused.get_column("_row").to_numpy()]
    numbers = [int(np.count_nonzero(spill.part[:row] & (DROPPED - 1) == part)) for row in rows]
    refused = counts.refused.with_columns(
        pl.Series("_row", numbers),
        *(
            ids[side].ids.gather(counts.refused.get_column(name)).alias(name)
            for side, name in (("user", schema.user), ("item", schema.item))
        ),
    )
    return replace(counts, refused=refused)
