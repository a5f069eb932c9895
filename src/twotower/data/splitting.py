"""Split a dataset into training, validation and test set; only a `TrainPart` may be fitted on.

Duplicates are dropped first: a copy of a training row in the test set is leakage. A method chooses which rows
to hold out (`HoldOut`); with another stream of the same seed, it then selects the validation set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from twotower.config.schema import Schema
from twotower.core.forking import check_process
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.duplicates import deduplicate, drop_rows_of
from twotower.data.merged import one_row_an_id
from twotower.data.splits.column import SETS, Column
from twotower.data.splits.registry import SPLITS
from twotower.data.splits.split import HoldOut, Split
from twotower.errors import ConfigError, DataError, nearest

TEST, VALIDATION = 0, 1
"""The random streams of one seed: selecting a validation set does not change the test set."""
DISJOINT: Final = (("train", "test"), ("validation", "test"), ("train", "validation"))
"""Pairs of sets: rows of the first that are also in the second are dropped from the first."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The training, validation and test set of an experiment: fit on the first, choose on the second, report
    on the third.

    Attributes:
        hash: their fingerprint, if it was computed before: while a store of them was written.
    """

    train: TrainPart
    validation: Dataset
    test: Dataset
    hash: str | None = None


def split(
    data: Dataset,
    method: str | Split = "random",
    *,
    test: float = 0.1,
    seed: int = 42,
    repeats: str = "max",
    column: str | None = None,
) -> tuple[TrainPart, Dataset]:
    """Hold out a test set, after dropping duplicates and merging contradicting rows.

    ============== ===============================================================================
    method         what is held out
    ============== ===============================================================================
    ``random``     a share of the rows
    ``per_user``   a share of each user's rows, at random; at least one row stays in training
    ``temporal``   the latest share of the rows that have a time; equal times stay together
    ``leave_last`` each user's last row by time (the later row of two at one time); users with one
                   row stay in training. The share is not used.
    ``cold_items`` a share of the items with all their rows
    ``cold_users`` a share of the users with all their rows
    ``column``     the rows marked as test; those marked as validation go to the training set
    ============== ===============================================================================

    The two methods by time keep rows without a timestamp in the training set, and note how many.

    Args:
        data: the dataset.
        method: one of the above; or an object of a class of your own, a `twotower.data.splits.HoldOut`.
        test: share of the test set, between 0 and 1.
        seed: the same seed on the same rows in the same order gives the same split.
        repeats: how rows of one user, item and time that contradict each other are merged: ``max`` keeps the
            largest label; or ``last``, ``first``, ``mean``, ``sum``, ``refuse``.
        column: for method ``column``: a column of the interactions with the values train, test or validation.

    Returns:
        The training set and the test set.

    Raises:
        ConfigError: an unknown method, a share outside (0, 1), a negative seed, a method by time without a
            timestamp role.
        DataError: the training or the test set would have no rows.
    """
    check_process()
    if column is not None and not isinstance(column, str):
        raise ConfigError(
            f"column must be the name of a column of the interactions, got {type(column).__name__}; add the "
            "values train and test to the frame as a column and give its name"
        )
    if (method == Column.name) != (column is not None):
        raise ConfigError(
            f"method 'column' needs column, and other methods don't take it; got method {method!r} and "
            f"column {column!r}; write split(data, 'column', column='split')"
        )
    if column is not None or isinstance(method, Column):
        named = (method if isinstance(method, Column) else Column(column or "")).divide(data)
        rest = named["train"]
        if "validation" in named:
            both = pl.concat([rest.interactions, named["validation"].interactions])
            rest = rest.with_interactions(
                both, f"{count_of(len(named['validation']), 'validation row')} added to the training set"
            )
        kept = _disjoint({"train": rest, "test": named["test"]}, repeats)
        return kept["train"].as_train(), kept["test"]
    _check_share("test", test)
    return _cut(deduplicate(data, repeats), method, test, seed, part="test", stream=TEST)


def carve_validation(
    train: Dataset, method: str | HoldOut = "random", share: float = 0.1, seed: int = 42
) -> tuple[TrainPart, Dataset]:
    """Hold out a validation set from the training set, by any method of `split`.

    Args:
        train: the rows to split; duplicates must be dropped already.
        method: as in `split`.
        share: share of these rows that go to validation.
        seed: as in `split`; the selection is independent of that of the test set with the same seed.

    Returns:
        The smaller training set and the validation set.

    Raises:
        ConfigError, DataError: as `split`.
    """
    check_process()
    _check_share("validation", share)
    return _cut(train, method, share, seed, part="validation", stream=VALIDATION)


def split_three(
    data: Dataset,
    method: str | HoldOut = "random",
    test: float = 0.1,
    validation: float = 0.1,
    seed: int = 42,
    *,
    repeats: str = "max",
) -> Parts:
    """Split into training, validation and test set, both times by the same method.

    The test set is that of `split` with the same arguments.

    Args:
        data: the dataset; duplicates are dropped first.
        method: as in `split`, except ``column`` (see `twotower.data.splits.column`).
        test: share of the test set.
        validation: share of the validation set, also of all rows.
        seed: as in `split`.
        repeats: as in `split`.

    Raises:
        ConfigError, DataError: as in `split`; also if the shares leave nothing to train on.
    """
    check_process()
    check_shares(test, validation)
    rest, test_part = split(data, method, test=test, seed=seed, repeats=repeats)
    train, validation_part = carve_validation(rest, method, validation / (1.0 - test), seed)
    return Parts(train, validation_part, test_part)


def check_shares(test: float, validation: float) -> None:
    """Raise a `ConfigError` if the shares of both sets leave nothing to train on."""
    _check_share("test", test)
    _check_share("validation", validation)
    if test + validation >= 1.0:
        raise ConfigError(
            f"the shares of test and validation must add up to less than 1, got {test:g} + {validation:g}; "
            "lower one of them"
        )


def parts_of(
    train: Dataset,
    test: Dataset,
    validation: Dataset | None = None,
    validation_share: float = 0.1,
    seed: int = 42,
    *,
    repeats: str = "max",
) -> Parts:
    """Make a split from separate tables, and make the sets disjoint.

    In each set duplicates are dropped and contradicting rows merged. Training rows that are also in the
    validation or test set (same user, item and timestamp) are dropped from the training set, validation rows
    that are also in the test set from the validation set, and the notes say how many. All sets get the users
    and items of all three.

    Args:
        train: rows to train on.
        test: rows to report on; unchanged except for duplicates.
        validation: rows to choose on. If None, training rows are held out: the latest ones if the schema has
            a timestamp, otherwise random ones.
        validation_share: share of the training rows to hold out.
        seed: for the random selection.
        repeats: as in `split`.

    Raises:
        ConfigError: the sets have different schemas, or the share is outside (0, 1).
        DataError: a set has no rows left.
    """
    given = {"train": train, "test": test}
    if validation is not None:
        given["validation"] = validation
    kept = _disjoint(given, repeats)
    if "validation" in kept:
        return Parts(kept["train"].as_train(), kept["validation"], kept["test"])
    smaller, carved = carve_validation(kept["train"], carving(train.schema), validation_share, seed)
    return Parts(smaller, carved, kept["test"])


def check_schemas(given: Mapping[str, Dataset]) -> None:
    """Raise a `ConfigError` if the sets have different schemas."""
    for name, part in given.items():
        if part.schema != given["train"].schema:
            raise ConfigError(
                f"all sets must have the same schema, and that of the {SETS[name]} set differs from that "
                "of the training set; use one"
            )


def carving(schema: Schema) -> str:
    """Return how a validation set is held out of a training set that came without one."""
    return "random" if schema.timestamp is None else "temporal"


def _disjoint(given: Mapping[str, Dataset], repeats: str) -> dict[str, Dataset]:
    """Return the sets without duplicates, and without rows that are also in a later set."""
    check_schemas(given)
    kept = dict(zip(given, alike([deduplicate(part, repeats) for part in given.values()]), strict=True))
    for earlier, later in DISJOINT:
        if earlier in kept and later in kept:
            kept[earlier] = drop_rows_of(
                kept[earlier], kept[later], *(f"the {SETS[one]} set" for one in (earlier, later))
            )
    check_rest({name: len(part) for name, part in kept.items()})
    return kept


def _cut(
    data: Dataset, method: str | Split, share: float, seed: int, *, part: str, stream: int
) -> tuple[TrainPart, Dataset]:
    holder = method_of(
        method,
        [name for name in SPLITS if issubclass(SPLITS[name], HoldOut)],
        [Column.name] if part == "test" else [],
    )
    rng = generator(holder, data.schema, seed, stream)
    held = np.asarray(holder.hold_out(data, share, rng))
    if held.shape != (len(data),) or held.dtype != np.bool_:
        raise DataError(
            f"hold_out of split method {holder.name!r} must return a boolean for each of the {len(data):,} "
            f"rows, got {held.dtype} of shape {held.shape}"
        )
    check_cut(holder, share, {"train": int(len(held) - held.sum()), part: int(held.sum())})
    keep = pl.Series(~held)
    times = data.interactions.get_column(data.schema.timestamp) if data.schema.timestamp is not None else None
    notes = untimed_note(holder, 0 if times is None else times.null_count(), data.notes)
    train = data.with_interactions(data.interactions.filter(keep), *notes).as_train()
    return train, data.with_interactions(data.interactions.filter(~keep), *notes)


def generator(holder: HoldOut, schema: Schema, seed: int, stream: int) -> np.random.Generator:
    """Return the random numbers of a hold-out: of stream `TEST` or `VALIDATION` of a seed.

    Raises:
        ConfigError: the seed is not a whole number of 0 or more; the method is by time, and there is no
            timestamp.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"a seed must be an integer of 0 or more, got {seed!r}; for example 42")
    if holder.by_time and schema.timestamp is None:
        raise ConfigError(
            f"split method '{holder.name}' needs a timestamp, and the schema has none; name the column in "
            "[schema] timestamp, or use 'random' or 'per_user'"
        )
    entropy: Any = [seed, stream] if stream else seed
    return np.random.Generator(np.random.PCG64(entropy))


def check_cut(holder: HoldOut, share: float, sizes: Mapping[str, int]) -> None:
    """Raise a `DataError` if a set has no rows, by the rows of both sets."""
    for name, size in sizes.items():
        if not size:
            listed = ", ".join(f"{key} {count:,}" for key, count in sizes.items())
            fix = "use a larger share, another method, or more data"
            if holder.by_time:
                fix += " (rows without a timestamp can't be held out)"
            raise DataError(
                f"every set needs at least one row: method '{holder.name}' with a share of {share:g} leaves "
                f"the {SETS[name]} set empty (rows: {listed}); {fix}"
            )


def untimed_note(holder: HoldOut, untimed: int, known: Sequence[str]) -> list[str]:
    """Return the note on rows that stay in training because they have no time; once, not for each set."""
    note = f"kept {count_of(untimed, 'interaction')} without a timestamp in the training set"
    return [note] if holder.by_time and untimed and note not in known else []


def check_rest(sizes: Mapping[str, int]) -> None:
    """Raise a `DataError` if a set has no rows left, by the rows of all sets."""
    for name, size in sizes.items():
        if not size:
            raise DataError(
                f"every set needs at least one row: the {SETS[name]} set has none after dropping the rows "
                "that are also in a later set; pass files with different rows"
            )


def method_of(method: str | Split, known: Sequence[str], others: Sequence[str] = ()) -> HoldOut:
    """Return the method of a name, which must be a known one; or an object of one's own.

    Raises:
        ConfigError: an unknown name; the message suggests others too.
    """
    if isinstance(method, HoldOut):
        return method
    if isinstance(method, str) and method in known:
        found = SPLITS[method]
        assert issubclass(found, HoldOut)
        return found()
    if isinstance(method, type) and issubclass(method, Split):
        raise ConfigError(
            f"a split method is a name or an object, got the class {method.__name__}; give "
            f"{method.__name__}()"
        )
    valid = [*known, *others]
    hint = nearest(str(method), valid) or f" Valid: {', '.join(valid)}."
    raise ConfigError(f"unknown split method {method!r}.{hint}")


def _check_share(name: str, share: float) -> None:
    number = isinstance(share, int | float | np.number) and not isinstance(share, bool)
    if not (number and 0.0 < float(share) < 1.0):
        raise ConfigError(
            f"the share of the {SETS[name]} set must be between 0 and 1, got {share!r}; for example 0.1"
        )


def alike(parts: list[Dataset]) -> list[Dataset]:
    """Return the sets with ids of one dtype, and with the users and the items of all of them."""
    schema = parts[0].schema
    casts, notes = [], []
    for ids, tables in (
        (schema.user, [t for part in parts for t in (part.interactions, part.users)]),
        (schema.item, [t for part in parts for t in (part.interactions, part.items)]),
    ):
        dtypes = {table.get_column(ids).dtype for table in tables}
        one: pl.DataType | type[pl.DataType] = pl.String if pl.String in dtypes else pl.Int64
        if one == pl.String and len(dtypes) > 1:
            notes.append(
                f"column '{ids}' is text in one set and whole numbers in another; read as text in all"
            )
        casts.append(pl.col(ids).cast(dtypes.pop() if len(dtypes) == 1 else one))
    events = [part.interactions.with_columns(casts) for part in parts]
    users = _merged([part.users.with_columns(casts[0]) for part in parts], schema.user, "users")
    items = _merged([part.items.with_columns(casts[1]) for part in parts], schema.item, "items")
    return [
        Dataset(rows, users, items, schema, (*part.notes, *notes))
        for rows, part in zip(events, parts, strict=True)
    ]


def _merged(tables: list[pl.DataFrame], ids: str, name: str) -> pl.DataFrame:
    """Stack the tables, with one row per id."""
    for other in tables[1:]:
        if other.schema != tables[0].schema:
            differing = [c for c in tables[0].columns if other.schema.get(c) != tables[0].schema[c]]
            raise DataError(
                f"the {name} of all sets must have the same columns and types, and differ in "
                f"{', '.join(differing) or ', '.join(other.columns)}; pass the same table for all sets"
            )
    if all(other is tables[0] or other.equals(tables[0]) for other in tables[1:]):
        return tables[0]
    columns = [name for name in tables[0].columns if name != ids]
    return one_row_an_id(pl.concat(tables), ids, columns, f"the {name} of all sets together")
