"""Duplicate interactions: the same user, item and timestamp (or user and item without timestamps).

Logs contain duplicates: a million of KuaiRec's 12.5 M rows are. They are found by a 64-bit hash per row. Only
rows with equal hashes are compared value by value, so the result does not depend on the hash, and peak memory
is about three numbers per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.config.schema import Schema
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError, nearest

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
REPEATS: Final = ("max", "last", "first", "mean", "sum", "refuse")
"""How contradicting rows can be merged."""
_ROW: Final = "_row"


def deduplicate(data: Dataset, repeats: str = "max") -> Dataset:
    """Drop duplicate interactions, and merge contradicting ones.

    Duplicates are rows that are equal in all role columns; the first is kept. Other rows of the same user,
    item and timestamp contradict each other: an impression and a click, a rating and its correction.
    ``repeats`` says how they are merged:

    ========== ==============================================================================
    repeats    what is kept
    ========== ==============================================================================
    ``max``    the row with the largest label (then weight), so that no positive is lost
    ``last``   the last row
    ``first``  the first row
    ``mean``   the first row, with the mean of the labels and of the weights
    ``sum``    the first row, with the sum of the labels and the mean of the weights
    ``refuse`` nothing: rows that differ in their label are an error
    ========== ==============================================================================

    A missing timestamp counts as a value: rows of one user and item without a time are the same event.
    Without a timestamp in the schema only user and item are compared; as equal rows may then be several
    events, ``mean`` and ``sum`` include all of them. Rows of one user and item at different times are never
    merged. The kept rows stay in order. What was dropped is added to the notes.

    Raises:
        ConfigError: an unknown rule.
        DataError: rows contradict each other, and ``repeats`` is ``refuse``.
    """
    if repeats not in REPEATS:
        hint = nearest(str(repeats), REPEATS) or f" Valid: {', '.join(REPEATS)}."
        raise ConfigError(f"repeats must be one of {', '.join(REPEATS)}; got {repeats!r}.{hint}")
    roles = data.interactions.select(data.role_columns())
    some = repeated(roles, data.schema)
    return _merged(data, Merging.of(some, data.schema, repeats)) if some.height else data


@dataclass(frozen=True)
class MergingCounts:
    """How many rows are merged.

    Attributes:
        repeats: the rule; not ``refuse``, unless rows are refused.
        copies: number of exact duplicates.
        clashing: number of rows of events with several rows that are not all equal.
        events: number of these events.
        differing: number of rows of events with several labels.
        refused: rows of the first event that is refused; empty if none is.
    """

    repeats: str
    copies: int
    clashing: int
    events: int
    differing: int
    refused: pl.DataFrame


@dataclass(frozen=True)
class Merging:
    """How rows of events with more than one row are merged.

    Attributes:
        dropped: positions of the rows to drop.
        kept: for each event with several rows that are not all equal, the row that is kept: its values, and
            its position in ``_row``.
        counts: what to say of it.
    """

    dropped: Rows
    kept: pl.DataFrame
    counts: MergingCounts

    @classmethod
    def of(cls, some: pl.DataFrame, schema: Schema, repeats: str) -> Merging:
        """Return how the rows that `repeated` found are merged."""
        keys, roles = event_key(schema), [name for name in some.columns if name != _ROW]
        first = some.select(pl.struct(roles).is_first_distinct()).to_series()
        left = some.filter(first)
        clashing = left.filter(pl.len().over(keys) > 1)
        if _counts_copies(schema, repeats):
            clashing, copies = some, np.zeros(0, dtype=np.int64)
        else:
            copies = some.filter(~first).get_column(_ROW).to_numpy()
        differing, refused = _of_several_labels(clashing, schema), clashing.clear()
        if repeats == "refuse":
            if differing.height:
                one = differing.select(pl.struct(keys).first()).to_series()[0]
                refused = differing.filter(pl.struct(keys) == one)
            else:
                repeats = "max"  # they differ in a weight or a duration
        kept = clashing.clear() if refused.height else _kept(clashing, schema, repeats)
        merged = clashing.join(kept, on=_ROW, how="anti").get_column(_ROW).to_numpy()
        sizes = (len(copies), clashing.height, kept.height, differing.height)
        return cls(np.concatenate([copies, merged]), kept, MergingCounts(repeats, *sizes, refused))


def notes_of_merging(schema: Schema, rows: int, parts: Sequence[MergingCounts]) -> list[str]:
    """Return the notes on how the events of some rows were merged, from the counts of their parts.

    Raises:
        DataError: rows contradict each other, and ``repeats`` is ``refuse``.
    """
    notes = []
    differing = sum(part.differing for part in parts)
    if refused := [part.refused for part in parts if part.refused.height]:
        raise _refused(schema, min(refused, key=lambda of: of.get_column(_ROW)[0]), differing)
    if copies := sum(part.copies for part in parts):
        notes.append(
            f"dropped {count_of(copies, 'duplicate row')}, {_share(copies, rows)} (same {_named(schema)})"
        )
    if events := sum(part.events for part in parts):
        clashing = sum(part.clashing for part in parts)
        notes.append(_told(schema, clashing, events, differing > 0, parts[0].repeats))
    return notes


@dataclass(frozen=True)
class RepeatedLabels:
    """Events with several rows that differ in their label.

    Attributes:
        rows: their rows.
        largest: (events,) the largest label of each event.
        kept: (events,) the label after merging.
    """

    rows: int
    largest: npt.NDArray[np.float64]
    kept: npt.NDArray[np.float64]

    @property
    def events(self) -> int:
        """The number of events."""
        return len(self.largest)


def repeated_labels(data: Dataset, repeats: str) -> RepeatedLabels | None:
    """Return how a rule (not ``refuse``) merges rows that differ in their label; None if there are none."""
    schema = data.schema
    if schema.label is None:
        return None
    keys, label = event_key(schema), pl.col(schema.label)
    some = _of_several_labels(repeated(data.interactions.select(data.role_columns()), schema), schema)
    if not some.height:
        return None
    if not _counts_copies(schema, repeats):
        some = some.unique(data.role_columns(), keep="first", maintain_order=True)
    kept = _kept(some.with_columns(label.max().over(keys).alias("_largest")), schema, repeats)
    return RepeatedLabels(
        some.height, kept.get_column("_largest").to_numpy(), kept.get_column(schema.label).to_numpy()
    )


def _counts_copies(schema: Schema, repeats: str) -> bool:
    """Return whether equal rows count as several events, which a sum or a mean includes."""
    return repeats in ("sum", "mean") and schema.timestamp is None and schema.label is not None


def repeated(roles: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the rows of events with more than one row, with their positions in ``_row``.

    Args:
        roles: the role columns of n rows.
        schema: what they are.
    """
    keys = event_key(schema)
    hashes = row_hashes(roles.select(keys))
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    suspects = np.flatnonzero(_may_contain(twice, hashes)) if len(twice) else np.zeros(0, dtype=np.int64)
    del hashes
    some = roles[suspects].with_columns(pl.Series(_ROW, suspects))
    return some.filter(pl.len().over(keys) > 1)


def _merged(data: Dataset, merging: Merging) -> Dataset:
    """Merge rows."""
    schema, interactions = data.schema, data.interactions
    notes = notes_of_merging(schema, len(data), [merging.counts])
    if merging.counts.repeats in ("mean", "sum") and merging.kept.height:
        interactions = _with_values(
            interactions, merging.kept, [c for c in (schema.label, schema.weight) if c]
        )
    return data.with_interactions(_without(interactions, merging.dropped), *notes)


def _kept(clashing: pl.DataFrame, schema: Schema, repeats: str) -> pl.DataFrame:
    """Return the kept row of each event, with its values."""
    keys, label, weight = event_key(schema), schema.label, schema.weight
    if repeats == "last":
        return clashing.unique(keys, keep="last", maintain_order=True)
    if repeats in ("mean", "sum"):
        means = [pl.col(weight).mean().over(keys)] if weight else []
        value = pl.col(label or _ROW)
        found = [] if label is None else [(value.sum() if repeats == "sum" else value.mean()).over(keys)]
        return clashing.with_columns(*means, *found).unique(keys, keep="first", maintain_order=True)
    if repeats == "max":
        order = [name for name in (label, weight) if name is not None]
        clashing = clashing.sort(order, descending=True, maintain_order=True) if order else clashing
    return clashing.unique(keys, keep="first", maintain_order=True)


def _with_values(interactions: pl.DataFrame, kept: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    places = kept.get_column(_ROW)
    return interactions.with_columns(
        interactions.get_column(name).cast(pl.Float64).scatter(places, kept.get_column(name))
        for name in columns
    )


def _told(schema: Schema, clashing: int, events: int, labels: bool, repeats: str) -> str:
    """Return a note: how many rows contradicted each other, and how they were merged."""
    what = {
        "max": f"the largest {schema.label} of each is kept" if labels else "the first of each is kept",
        "last": "the last of each is kept",
        "first": "the first of each is kept",
        "mean": f"with the mean of their {schema.label}",
        "sum": f"with the sum of their {schema.label}",
    }
    differ = f"differ in their {schema.label}" if labels else "occur more than once"
    return (
        f"{count_of(clashing, 'row')} of {count_of(events, 'event')} (same {_named(schema)}) "
        f"{differ}: merged into {events:,}, {what[repeats]} (data.repeats = '{repeats}')"
    )


def _of_several_labels(clashing: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    if schema.label is None:
        return clashing.clear()
    return clashing.filter(pl.col(schema.label).n_unique().over(event_key(schema)) > 1)


def _refused(schema: Schema, group: pl.DataFrame, concerned: int) -> DataError:
    labels = group.get_column(schema.label or _ROW)
    second = int((labels != labels[0]).arg_max() or 0)
    one, two = group.get_column(_ROW)[0] + 1, group.get_column(_ROW)[second] + 1
    return DataError(
        f"rows of one {_named(schema)} must not contradict each other with data.repeats = 'refuse': data "
        f"rows {one:,} and {two:,} of the interactions ({schema.user} {group.get_column(schema.user)[0]}, "
        f"{schema.item} {group.get_column(schema.item)[0]}) have {labels[0]:g} and {labels[second]:g}; "
        f"this concerns {count_of(concerned, 'row')}. Correct them, or choose data.repeats from "
        f"{', '.join(REPEATS[:-1])}."
    )


def drop_rows_of(data: Dataset, other: Dataset, name: str, other_name: str) -> Dataset:
    """Drop the interactions of ``data`` that are also in ``other``, which must have ids of the same dtypes.

    Args:
        data: the dataset to drop rows from.
        other: the dataset that keeps its rows.
        name: name of ``data`` in the note.
        other_name: name of ``other``.
    """
    keys = event_key(data.schema)
    shared = rows_in(data.interactions.select(keys), other.interactions.select(keys))
    if not len(shared):
        return data
    note = note_of_shared(data.schema, len(shared), len(data), name, other_name)
    return data.with_interactions(_without(data.interactions, shared), note)


def rows_in(rows: pl.DataFrame, theirs: pl.DataFrame) -> Rows:
    """Return the positions of the rows that are among others of the same columns, in no order."""
    suspects = np.flatnonzero(_may_contain(row_hashes(theirs), row_hashes(rows)))
    mine = rows[suspects].with_columns(pl.Series(_ROW, suspects))
    return mine.join(theirs, on=rows.columns, how="semi", nulls_equal=True).get_column(_ROW).to_numpy()


def note_of_shared(schema: Schema, shared: int, rows: int, name: str, other_name: str) -> str:
    """Return the note on rows of a set that are dropped because they are also in another one."""
    return (
        f"dropped {count_of(shared, 'row')} of {name}, {_share(shared, rows)}, also in {other_name} "
        f"(same {_named(schema)})"
    )


def _share(some: int, rows: int) -> str:
    share = some / rows
    return f"{share:.1%} of all" if share >= 0.001 else "less than 0.1% of all"


def event_key(schema: Schema) -> list[str]:
    """Return the columns that identify an event."""
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
    """Return which of n hashes may be among the known ones, (n,): no false negatives, a few percent of false
    positives.

    They are looked up in a table of flags by their leading bits: about 64 flags per known hash, at most 2^26
    (64 MB).
    """
    bits = min(26, 6 + len(known).bit_length())
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, dtype=np.bool_)
    table[known >> shift] = True
    found: npt.NDArray[np.bool_] = table[hashes >> shift]
    return found


def _without(frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    keep = np.ones(frame.height, dtype=np.bool_)
    keep[rows] = False
    return frame.filter(pl.Series(keep))
