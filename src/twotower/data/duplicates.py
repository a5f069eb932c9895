"""Duplicate interactions: the same user, item and timestamp (or user and item, where there is no time).

Logs repeat themselves: of KuaiRec's 12.5 M rows a million are copies. They are found by a 64-bit hash a row.
Only rows whose hash turns up twice are compared value by value, so that the result does not depend on the
hash and the peak is about three numbers a row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.data.dataset import Dataset
from twotower.schema import Schema

Hashes = npt.NDArray[np.uint64]


def deduplicate(data: Dataset) -> Dataset:
    """Keep the first of the interactions with the same user, item and timestamp, in their order.

    A missing timestamp counts as a value: of two untimed rows with the same user and item the first is kept.
    A schema without a timestamp compares user and item alone. What was dropped is added to the notes.
    """
    keys = event_key(data.schema)
    rows = data.interactions.select(keys)
    hashes = row_hashes(rows)
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    if not len(twice):
        return data
    suspects = np.flatnonzero(_may_contain(twice, hashes))
    first = rows[suspects].select(pl.struct(keys).is_first_distinct()).to_series().to_numpy()
    dropped = suspects[~first]
    if not len(dropped):
        return data
    note = f"dropped {len(dropped):,} duplicate rows, {_share(dropped, data)} (same {_named(data.schema)})"
    return data.with_interactions(_without(data.interactions, dropped), note)


def drop_rows_of(data: Dataset, other: Dataset, name: str, other_name: str) -> Dataset:
    """Drop the interactions of ``data`` that are also in ``other``, which must have ids of the same dtypes.

    Args:
        data: the part to drop from.
        other: the part that keeps its rows.
        name: what to call ``data`` in the note.
        other_name: what to call ``other``.
    """
    keys = event_key(data.schema)
    rows = data.interactions.select(keys)
    theirs = other.interactions.select(keys)
    suspects = np.flatnonzero(_may_contain(row_hashes(theirs), row_hashes(rows)))
    if not len(suspects):
        return data
    mine = rows[suspects].with_columns(pl.Series("_row", suspects))
    shared = mine.join(theirs, on=keys, how="semi", nulls_equal=True).get_column("_row").to_numpy()
    if not len(shared):
        return data
    note = (
        f"dropped {len(shared):,} rows of {name}, {_share(shared, data)}, that are also in {other_name} "
        f"(same {_named(data.schema)})"
    )
    return data.with_interactions(_without(data.interactions, shared), note)


def _share(rows: npt.NDArray[np.int64], data: Dataset) -> str:
    share = len(rows) / len(data)
    return f"{share:.1%} of all" if share >= 0.001 else "less than 0.1% of all"


def event_key(schema: Schema) -> list[str]:
    """Return the columns by which two interactions are the same event."""
    return [schema.user, schema.item] + ([schema.timestamp] if schema.timestamp is not None else [])


def _named(schema: Schema) -> str:
    return "user, item" if schema.timestamp is None else "user, item, timestamp"


def row_hashes(rows: pl.DataFrame) -> Hashes:
    """Hash each of n rows, (n,): equal rows have equal hashes, nulls included."""
    total = np.zeros(rows.height, dtype=np.uint64)
    for column in rows.iter_columns():
        total *= np.uint64(0x9E3779B97F4A7C15)
        total += column.hash().to_numpy()
    return total


def _may_contain(known: Hashes, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Say which of n hashes may be among the known ones, (n,): never a false no, a few percent of false yes.

    They are looked up in a table of flags by their leading bits: some 64 flags for each known hash, and
    2^26 (64 MB) at most.
    """
    bits = min(26, 6 + len(known).bit_length())
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, dtype=np.bool_)
    table[known >> shift] = True
    found: npt.NDArray[np.bool_] = table[hashes >> shift]
    return found


def _without(frame: pl.DataFrame, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    keep = np.ones(frame.height, dtype=np.bool_)
    keep[rows] = False
    return frame.filter(pl.Series(keep))
