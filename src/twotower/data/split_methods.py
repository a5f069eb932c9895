"""The split methods: each returns which rows of a dataset to hold out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.data.dataset import Dataset

Rows = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]


def _random(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    return _some(len(data), share, rng)


def _per_user(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    codes = _codes(data.interactions.get_column(data.schema.user))
    sizes = np.bincount(codes)  # (n_users,)
    # Systematic rounding: of a user with n rows, floor or ceil of share * n are held out, share * n on
    # average over seeds, and the total is exact to one row. Rounding each user separately would hold out
    # nothing of users with few rows.
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
    # Rows at the cut go to one side together: to the one that keeps the test set closest to its size.
    above, from_cut = int((timed > cut).sum()), int((timed >= cut).sum())
    take_cut = above == 0 or (from_cut < len(timed) and from_cut - wanted <= wanted - above)
    held: Rows = (times >= cut) if take_cut else (times > cut)
    return held


def _leave_last(data: Dataset, share: float, rng: np.random.Generator) -> Rows:
    del share, rng  # one row per user, and nothing random
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
"""Returns which of the dataset's n interactions to hold out: (n,) booleans."""

METHODS: Mapping[str, Method] = {
    "random": _random,
    "per_user": _per_user,
    "temporal": _temporal,
    "leave_last": _leave_last,
    "cold_items": _cold_items,
    "cold_users": _cold_users,
}
BY_TIME = ("temporal", "leave_last")
"""Methods that hold out the latest rows; rows without a time stay in the training set."""


def _some(n: int, share: float, rng: np.random.Generator) -> Rows:
    """Choose round(share * n) of n at random."""
    return _draw(np.zeros(n, dtype=np.int64), np.array([round(share * n)]), rng)


def _draw(codes: Codes, wanted: Codes, rng: np.random.Generator) -> Rows:
    """Choose ``wanted[g]`` of the rows of each group g at random.

    Args:
        codes: (n,) group of each row.
        wanted: (n_groups,) how many to choose, at most the group's size.
        rng: source of randomness.

    Returns:
        (n,) true for the rows chosen.
    """
    bits = 63 - len(wanted).bit_length()
    group = (codes.astype(np.uint64) + np.uint64(1)) << np.uint64(bits)
    some = wanted > 0
    sizes = np.bincount(codes, minlength=len(wanted))
    last = np.cumsum(sizes) - sizes + wanted - 1  # (n_groups,) position of the last one chosen, in the order
    while True:
        # A random number in the low bits below each row's group: the smallest of each group are chosen.
        # Sorting plain integers is several times faster than shuffling rows and sorting them by group.
        keys = rng.integers(0, 1 << bits, len(codes), dtype=np.uint64) | group  # (n,)
        limits = np.zeros(len(wanted), dtype=np.uint64)  # below every key
        limits[some] = np.sort(keys)[last[some]]
        chosen = keys <= limits[codes]
        if chosen.sum() == wanted.sum():  # false once in millions of runs: two equal numbers at a limit
            return chosen


def _codes(ids: pl.Series) -> Codes:
    """Return an integer code from 0 for each id, ordered by id; some codes may have no rows."""
    if ids.dtype.is_integer() and len(ids):
        low, high = int(ids.min() or 0), int(ids.max() or 0)  # type: ignore[arg-type]
        if high - low <= 2 * len(ids) + 1024:  # dense enough to serve as the code
            return ids.cast(pl.Int64).to_numpy() - low
    known = pl.DataFrame({"id": ids.unique().sort()}).with_row_index("code")
    rows = pl.DataFrame({"id": ids}).join(known, on="id", how="left", maintain_order="left")
    return rows.get_column("code").cast(pl.Int64).to_numpy()


def _times(data: Dataset) -> npt.NDArray[np.float64]:
    """Return the seconds of each interaction, NaN where there is no time."""
    assert data.schema.timestamp is not None  # checked before any method is called
    return data.interactions.get_column(data.schema.timestamp).cast(pl.Float64).to_numpy()
