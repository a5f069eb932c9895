"""Cut a dataset into train, validation and test parts; only a `TrainPart` may be fitted on.

Duplicates go first: a copy of a train row in the test part is leakage. A method is a function that says which
rows to hold out; the same function, with another stream of the same seed, then carves the validation part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.data.dataset import Dataset, TrainPart
from twotower.data.duplicates import deduplicate, drop_rows_of
from twotower.errors import ConfigError, DataError, nearest

Rows = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

_TEST, _VALIDATION = 0, 1
"""The streams of one seed: carving a validation part does not change which rows are test rows."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The three parts of an experiment: fit on train, choose on validation, report on test."""

    train: TrainPart
    validation: Dataset
    test: Dataset


def split(
    data: Dataset, method: str = "random", *, test: float = 0.1, seed: int = 42
) -> tuple[TrainPart, Dataset]:
    """Cut off a test part, after dropping duplicates.

    ============== ===============================================================================
    method         what is held out
    ============== ===============================================================================
    ``random``     a share of the rows
    ``per_user``   a share of each user's rows, at random; one row at least stays in train
    ``temporal``   the latest share of the rows that have a time; equal times stay together
    ``leave_last`` each user's last row by time (the later row of two at one time); users with one
                   row stay in train. The share is not used.
    ``cold_items`` a share of the items with all their rows
    ``cold_users`` a share of the users with all their rows
    ============== ===============================================================================

    The two methods by time keep rows without a timestamp in train, and note how many.

    Args:
        data: what to cut.
        method: one of the above.
        test: share of the test part, between 0 and 1.
        seed: the same seed on the same rows in the same order gives the same parts.

    Returns:
        The train part and the test part.

    Raises:
        ConfigError: an unknown method, a share outside (0, 1), a negative seed, a method by time without a
            timestamp role.
        DataError: a part would have no rows.
    """
    _check_share("test", test)
    return _cut(deduplicate(data), method, test, seed, part="test", stream=_TEST)


def carve_validation(
    train: Dataset, method: str = "random", share: float = 0.1, seed: int = 42
) -> tuple[TrainPart, Dataset]:
    """Cut a validation part off the rows that a test part has left, by any method of `split`.

    Args:
        train: the rows to cut; duplicates are taken to be gone.
        method: as in `split`.
        share: share of these rows that go to validation.
        seed: as in `split`; with the same seed the draw is independent of the test part's.

    Returns:
        The smaller train part and the validation part.

    Raises:
        ConfigError, DataError: as `split`.
    """
    _check_share("validation", share)
    return _cut(train, method, share, seed, part="validation", stream=_VALIDATION)


def split_three(
    data: Dataset, method: str = "random", test: float = 0.1, validation: float = 0.1, seed: int = 42
) -> Parts:
    """Cut into train, validation and test, both cuts by the same method.

    The test part is the one of `split` with the same arguments.

    Args:
        data: what to cut; duplicates are dropped first.
        method: as in `split`.
        test: share of the test part.
        validation: share of the validation part, of the whole as well.
        seed: as in `split`.

    Raises:
        ConfigError, DataError: as `split`; also if the shares leave nothing to train on.
    """
    _check_share("test", test)
    _check_share("validation", validation)
    if test + validation >= 1.0:
        raise ConfigError(
            f"the shares of test and validation must add up to less than 1, got {test:g} + {validation:g}; "
            "lower one of them"
        )
    rest, test_part = split(data, method, test=test, seed=seed)
    train, validation_part = carve_validation(rest, method, validation / (1.0 - test), seed)
    return Parts(train, validation_part, test_part)


def parts_of(
    train: Dataset,
    test: Dataset,
    validation: Dataset | None = None,
    validation_share: float = 0.1,
    seed: int = 42,
) -> Parts:
    """Take parts that come as files of their own, and make them disjoint.

    Each is deduplicated. A row of train that is also in validation or test (same user, item and timestamp) is
    dropped from train, one of validation that is also in test from validation, and the notes say how many.
    All parts get the users and items of all three.

    Args:
        train: rows to train on.
        test: rows to report on; never changed but for its duplicates.
        validation: rows to choose on. Without them they are carved from train: the latest ones if there is
            a timestamp role, else at random.
        validation_share: share of train to carve.
        seed: for the random carving.

    Raises:
        ConfigError: the parts have different schemas, or the share is outside (0, 1).
        DataError: a part has no rows left.
    """
    given = [
        ("train", train),
        ("test", test),
        *([("validation", validation)] if validation is not None else []),
    ]
    for name, part in given:
        if part.schema != train.schema:
            raise ConfigError(f"all parts need the same schema, that of {name} differs from train's; use one")
    kept = dict(
        zip((name for name, _ in given), alike([deduplicate(part) for _, part in given]), strict=True)
    )
    for earlier, later in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if earlier in kept and later in kept:
            kept[earlier] = drop_rows_of(kept[earlier], kept[later], earlier, later)
    for name, part in kept.items():
        if not len(part):
            raise DataError(
                f"every part of a split needs at least one row: {name} has none left once the rows that are "
                "also in a later part are dropped; give files that hold different rows"
            )
    if "validation" in kept:
        return Parts(kept["train"].as_train(), kept["validation"], kept["test"])
    method = "random" if train.schema.timestamp is None else "temporal"
    smaller, carved = carve_validation(kept["train"], method, validation_share, seed)
    return Parts(smaller, carved, kept["test"])


def _cut(
    data: Dataset, method: str, share: float, seed: int, *, part: str, stream: int
) -> tuple[TrainPart, Dataset]:
    if method not in _METHODS:
        hint = nearest(str(method), _METHODS) or f" Valid: {', '.join(_METHODS)}."
        raise ConfigError(f"unknown split method {method!r}.{hint}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"a seed is an integer of 0 or more, got {seed!r}; write one like 42")
    timestamp = data.schema.timestamp
    if method in _BY_TIME and timestamp is None:
        raise ConfigError(
            f"split method '{method}' needs a timestamp and the schema has none; name the column in "
            "[schema] timestamp, or use 'random' or 'per_user'"
        )
    entropy: Any = [seed, stream] if stream else seed
    held = _METHODS[method](data, share, np.random.Generator(np.random.PCG64(entropy)))
    sizes = {"train": int(len(held) - held.sum()), part: int(held.sum())}
    for name, size in sizes.items():
        if not size:
            listed = ", ".join(f"{key} {count:,}" for key, count in sizes.items())
            mend = "use a larger share, another method, or more data"
            if method in _BY_TIME:
                mend += " (rows without a timestamp can't be held out)"
            raise DataError(
                f"every part of a split needs at least one row: method '{method}' with a share of {share:g} "
                f"leaves {name} empty (rows: {listed}); {mend}"
            )
    keep = pl.Series(~held)
    notes = []
    if method in _BY_TIME and timestamp is not None:
        untimed = data.interactions.get_column(timestamp).null_count()
        note = f"{untimed:,} interactions without a timestamp are in train"
        notes = [note] if untimed and note not in data.notes else []  # the second cut needn't say it again
    train = data.with_interactions(data.interactions.filter(keep), *notes).as_train()
    return train, data.with_interactions(data.interactions.filter(~keep), *notes)


def _random(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    return _some(len(data), share, rng)


def _per_user(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    codes = _codes(data.interactions.get_column(data.schema.user))
    sizes = np.bincount(codes)  # (n_users,)
    # Systematic rounding: a user with n rows gives floor or ceil of share * n, whose mean over seeds is
    # exactly that, and the total is right to one row. Rounding each user alone would take none of short ones.
    edges = np.floor(np.cumsum(sizes * share) + rng.random()).astype(np.int64)
    wanted = np.minimum(np.diff(edges, prepend=0), np.maximum(sizes - 1, 0))  # (n_users,)
    return _draw(codes, wanted, rng)


def _temporal(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    del rng  # nothing here is random
    times = _times(data)
    timed = times[~np.isnan(times)]
    wanted = round(share * len(timed))
    if not 0 < wanted < len(timed):
        return np.zeros(len(times), dtype=np.bool_)
    cut = np.partition(timed, len(timed) - wanted)[len(timed) - wanted]
    # Rows at the cut go to one side together: to the side that leaves the test part nearest to its size.
    above, from_cut = int((timed > cut).sum()), int((timed >= cut).sum())
    take_cut = above == 0 or (from_cut < len(timed) and from_cut - wanted <= wanted - above)
    held: Rows = (times >= cut) if take_cut else (times > cut)
    return held


def _leave_last(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    del share, rng  # one row a user, and nothing random
    codes, times = _codes(data.interactions.get_column(data.schema.user)), _times(data)
    sizes = np.bincount(codes)  # (n_users,)
    timed = np.flatnonzero(~np.isnan(times) & (sizes[codes] > 1))
    latest = np.full(len(sizes), -np.inf)
    np.maximum.at(latest, codes[timed], times[timed])
    ties = timed[times[timed] == latest[codes[timed]]]
    last = np.full(len(sizes), -1, dtype=np.int64)
    np.maximum.at(last, codes[ties], ties)
    held = np.zeros(len(codes), dtype=np.bool_)
    held[last[last >= 0]] = True
    return held


def _cold(ids: pl.Series, share: float, rng: np.random.Generator) -> Rows:
    codes = _codes(ids)
    present = np.flatnonzero(np.bincount(codes))
    chosen = np.zeros(len(present) and int(present[-1]) + 1, dtype=np.bool_)
    chosen[present] = _some(len(present), share, rng)
    return chosen[codes]


def _cold_items(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    return _cold(data.interactions.get_column(data.schema.item), share, rng)


def _cold_users(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    return _cold(data.interactions.get_column(data.schema.user), share, rng)


Method = Callable[[Dataset, float, np.random.Generator], Rows]
"""Says which of the dataset's n interactions to hold out: (n,) booleans."""

_METHODS: Mapping[str, Method] = {
    "random": _random,
    "per_user": _per_user,
    "temporal": _temporal,
    "leave_last": _leave_last,
    "cold_items": _cold_items,
    "cold_users": _cold_users,
}
_BY_TIME = ("temporal", "leave_last")


def _some(n: int, share: float, rng: np.random.Generator) -> Rows:
    """Choose round(share * n) of n at random."""
    return _draw(np.zeros(n, dtype=np.int64), np.array([round(share * n)]), rng)


def _draw(codes: Codes, wanted: Codes, rng: np.random.Generator) -> Rows:
    """Choose ``wanted[g]`` of the rows of each group g at random.

    Args:
        codes: (n,) group of each row.
        wanted: (n_groups,) how many to choose, at most the group's size.
        rng: where the draw comes from.

    Returns:
        (n,) true for the rows chosen.
    """
    bits = 63 - len(wanted).bit_length()
    group = (codes.astype(np.uint64) + np.uint64(1)) << np.uint64(bits)
    some = wanted > 0
    sizes = np.bincount(codes, minlength=len(wanted))
    last = np.cumsum(sizes) - sizes + wanted - 1  # (n_groups,) place of the last one chosen, in the order
    while True:
        # A random number under each row's group: the smallest of each group are chosen. Sorting plain
        # integers is several times faster than shuffling rows and sorting them by group.
        keys = rng.integers(0, 1 << bits, len(codes), dtype=np.uint64) | group  # (n,)
        limits = np.zeros(len(wanted), dtype=np.uint64)  # below every key
        limits[some] = np.sort(keys)[last[some]]
        chosen = keys <= limits[codes]
        if chosen.sum() == wanted.sum():  # false once in millions: two equal numbers at a limit
            return chosen


def _codes(ids: pl.Series) -> Codes:
    """Return an integer from 0 for each id, in the order of the ids; a few codes may have no rows."""
    if ids.dtype.is_integer() and len(ids):
        low, high = int(ids.min() or 0), int(ids.max() or 0)  # type: ignore[arg-type]
        if high - low <= 2 * len(ids) + 1024:  # dense enough to be its own code
            return ids.cast(pl.Int64).to_numpy() - low
    known = pl.DataFrame({"id": ids.unique().sort()}).with_row_index("code")
    rows = pl.DataFrame({"id": ids}).join(known, on="id", how="left", maintain_order="left")
    return rows.get_column("code").cast(pl.Int64).to_numpy()


def _times(data: Dataset) -> npt.NDArray[np.float64]:
    """Return the seconds of each interaction, NaN where there is no time."""
    assert data.schema.timestamp is not None  # checked by `_cut`
    return data.interactions.get_column(data.schema.timestamp).cast(pl.Float64).to_numpy()


def _check_share(name: str, share: float) -> None:
    number = isinstance(share, int | float | np.number) and not isinstance(share, bool)
    if not (number and 0.0 < float(share) < 1.0):
        raise ConfigError(f"the share of {name} must be between 0 and 1, got {share!r}; write one like 0.1")


def alike(parts: list[Dataset]) -> list[Dataset]:
    """Return the parts with ids of one dtype, and with the users and the items of all of them."""
    schema = parts[0].schema
    casts = []
    for ids, tables in (
        (schema.user, [t for part in parts for t in (part.interactions, part.users)]),
        (schema.item, [t for part in parts for t in (part.interactions, part.items)]),
    ):
        dtypes = {table.get_column(ids).dtype for table in tables}
        one: pl.DataType | type[pl.DataType] = pl.String if pl.String in dtypes else pl.Int64
        casts.append(pl.col(ids).cast(dtypes.pop() if len(dtypes) == 1 else one))
    events = [part.interactions.with_columns(casts) for part in parts]
    users = _merged([part.users.with_columns(casts[0]) for part in parts], schema.user, "users")
    items = _merged([part.items.with_columns(casts[1]) for part in parts], schema.item, "items")
    return [Dataset(rows, users, items, schema, part.notes) for rows, part in zip(events, parts, strict=True)]


def _merged(tables: list[pl.DataFrame], ids: str, name: str) -> pl.DataFrame:
    """Stack the tables, keeping the first row of each id."""
    for other in tables[1:]:
        if other.schema != tables[0].schema:
            differing = [c for c in tables[0].columns if other.schema.get(c) != tables[0].schema[c]]
            raise DataError(
                f"the {name} of all parts need the same columns and types, they differ in "
                f"{', '.join(differing) or ', '.join(other.columns)}; give all parts the same table"
            )
    if all(other is tables[0] or other.equals(tables[0]) for other in tables[1:]):
        return tables[0]
    return pl.concat(tables).unique(ids, keep="first", maintain_order=True)
