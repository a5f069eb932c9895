"""Choose rows, or ids with all their rows, at random."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from twotower.data.dataset import Dataset
from twotower.data.splits.row_source import Codes, RowSource, codes_of
from twotower.data.splits.split import Rows

_BLOCK = 1 << 20
"""Rows that numbers are drawn for at once."""


def some(n: int, share: float, rng: np.random.Generator) -> Rows:
    """Choose round(share * n) of n at random: (n,)."""
    zeros = np.zeros(min(n, _BLOCK), dtype=np.int64)
    sizes = np.array([n])
    return draw(
        lambda: (zeros[: n - first] for first in range(0, n, _BLOCK)),
        sizes,
        np.array([round(share * n)]),
        1,
        rng,
    )


def draw(
    codes: Callable[[], Iterable[Codes]], sizes: Codes, wanted: Codes, span: int, rng: np.random.Generator
) -> Rows:
    """Choose ``wanted[g]`` of the rows of each group g at random.

    Takes 9 bytes a row, whatever the blocks; the numbers are drawn twice instead of being kept.

    Args:
        codes: gives the group of each of n rows, in blocks in order; asked for twice.
        sizes: (n_groups,) rows of each group.
        wanted: (n_groups,) how many to choose, at most the group's size.
        span: number of groups that the random numbers leave room for, at least n_groups.
        rng: source of randomness.

    Returns:
        (n,) true for the rows chosen.
    """
    bits = 63 - span.bit_length()
    n, chooses = int(sizes.sum()), wanted > 0
    last = np.cumsum(sizes) - sizes + wanted - 1  # (n_groups,) position of the last one chosen, in the order

    def keyed() -> Iterator[tuple[slice, Codes, npt.NDArray[np.uint64]]]:
        # A random number in the low bits below each row's group: the smallest of each group are chosen.
        # Sorting plain integers is several times faster than shuffling rows and sorting them by group.
        at = 0
        for block in codes():
            for first in range(0, len(block), _BLOCK):
                some = block[first : first + _BLOCK]
                group = (some.astype(np.uint64) + np.uint64(1)) << np.uint64(bits)
                group |= rng.integers(0, 1 << bits, len(some), dtype=np.uint64)
                yield slice(at, at + len(some)), some, group
                at += len(some)

    while True:
        start = rng.bit_generator.state
        keys = np.empty(n, dtype=np.uint64)
        for rows, _, of in keyed():
            keys[rows] = of
        limits = np.zeros(len(wanted), dtype=np.uint64)  # below every key
        if chooses.any():
            keys.sort() if len(wanted) > 1 else keys.partition(last[0])
            limits[chooses] = keys[last[chooses]]
        del keys
        rng.bit_generator.state = start
        chosen = np.empty(n, dtype=np.bool_)
        for rows, some, of in keyed():
            chosen[rows] = of <= limits[some]
        if chosen.sum() == wanted.sum():  # false once in millions of runs: two equal numbers at a limit
            return chosen


def rows_of_some(
    rows: RowSource, role: Literal["user", "item"], share: float, rng: np.random.Generator
) -> Rows:
    """Choose a share of the users or items at random, with all their rows: (n,)."""
    present = np.flatnonzero(rows.sizes(role))
    chosen = np.zeros(len(present) and int(present[-1]) + 1, dtype=np.bool_)
    chosen[present] = some(len(present), share, rng)
    held = np.empty(len(rows), dtype=np.bool_)
    at = 0
    for (codes,) in rows.blocks(role):
        held[at : at + len(codes)] = chosen[codes]
        at += len(codes)
    return held


def dealt(order: Codes, folds: int) -> Codes:
    """Deal n rows out to folds in turn, in the given order (n,): the fold of each row, (n,)."""
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % folds
    return fold


def folds_of_ids(ids: pl.Series, folds: int, rng: np.random.Generator) -> Codes:
    """Deal the distinct ids out to folds, each with all its rows: the fold of each row, (n,)."""
    known, rows = np.unique(codes_of(ids), return_inverse=True)
    return dealt(rng.permutation(len(known)), folds)[rows]


def users_of(data: Dataset) -> Codes:
    """Return `codes_of` the user of each interaction."""
    return codes_of(data.interactions.get_column(data.schema.user))
