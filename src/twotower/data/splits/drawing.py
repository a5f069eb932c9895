"""Choose rows, or ids with all their rows, at random."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.data.splits.split import Rows

Codes = npt.NDArray[np.int64]


def some(n: int, share: float, rng: np.random.Generator) -> Rows:
    """Choose round(share * n) of n at random: (n,)."""
    return draw(np.zeros(n, dtype=np.int64), np.array([round(share * n)]), rng)


def draw(codes: Codes, wanted: Codes, rng: np.random.Generator) -> Rows:
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
    chooses = wanted > 0
    sizes = np.bincount(codes, minlength=len(wanted))
    last = np.cumsum(sizes) - sizes + wanted - 1  # (n_groups,) position of the last one chosen, in the order
    while True:
        # A random number in the low bits below each row's group: the smallest of each group are chosen.
        # Sorting plain integers is several times faster than shuffling rows and sorting them by group.
        keys = rng.integers(0, 1 << bits, len(codes), dtype=np.uint64) | group  # (n,)
        limits = np.zeros(len(wanted), dtype=np.uint64)  # below every key
        limits[chooses] = np.sort(keys)[last[chooses]]
        chosen = keys <= limits[codes]
        if chosen.sum() == wanted.sum():  # false once in millions of runs: two equal numbers at a limit
            return chosen


def rows_of_some(ids: pl.Series, share: float, rng: np.random.Generator) -> Rows:
    """Choose a share of the distinct ids (n,) at random, with all their rows: (n,)."""
    codes = codes_of(ids)
    present = np.flatnonzero(np.bincount(codes))
    chosen = np.zeros(len(present) and int(present[-1]) + 1, dtype=np.bool_)
    chosen[present] = some(len(present), share, rng)
    return chosen[codes]


def dealt(order: Codes, folds: int) -> Codes:
    """Deal n rows out to folds in turn, in the given order (n,): the fold of each row, (n,)."""
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold


def folds_of_ids(ids: pl.Series, folds: int, rng: np.random.Generator) -> Codes:
    """Deal the distinct ids out to folds, each with all its rows: the fold of each row, (n,)."""
    known, rows = np.unique(codes_of(ids), return_inverse=True)
    return dealt(rng.permutation(len(known)), folds)[rows]


def codes_of(ids: pl.Series) -> Codes:
    """Return an integer code from 0 for each id, ordered by id; some codes may have no rows."""
    if ids.dtype.is_integer() and len(ids):
        low, high = int(ids.min() or 0), int(ids.max() or 0)  # type: ignore[arg-type]
        if high - low <= 2 * len(ids) + 1024:  # dense enough to serve as the code
            return ids.cast(pl.Int64).to_numpy() - low
    return Vocabulary.distinct(ids).rows(ids)


def users_of(data: Dataset) -> Codes:
    """Return `codes_of` the user of each interaction."""
    return codes_of(data.interactions.get_column(data.schema.user))
