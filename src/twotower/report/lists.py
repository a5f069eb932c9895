"""The recommendations for the users of the test set: how similar they are, and how popular the items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.evaluation import RankingTask
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.metrics.exposure import exposure_counts

_PAIRS = 4_000
"""Pairs of users whose lists are compared, at most."""
BANDS = 10
"""Bands of popularity, each of as many items."""


@dataclass(frozen=True, eq=False)
class GivenLists:
    """The lists of n users. Made by `lists_of`.

    Attributes:
        k: how long they are.
        users: ids (n,).
        items: ids (n_items,) of the catalogue.
        lists: int32 (n, k) rows of ``items``, best first, -1 after the last.
        relevant: rows of the items that each user liked in the test set.
        exposure: (n_items,) in how many lists each item is.
        popularity: (n_items,) training rows of each item.
        overlap: mean share of the items of one list that are also in another user's.
        by_band: three shares by band of popularity, rare items first, each summing to 1: of the training
            rows, of the held-out positives, of the lists; (3, BANDS).
    """

    k: int
    users: pl.Series
    items: pl.Series
    lists: NDArray[np.int32]
    relevant: Lists
    exposure: NDArray[np.int64]
    popularity: NDArray[np.int64]
    overlap: float
    by_band: NDArray[np.float64]

    @property
    def top(self) -> tuple[int, float]:
        """The item that is in most lists, by row, and the share of the lists that have it."""
        row = int(self.exposure.argmax())
        return row, float(self.exposure[row] / max(len(self.lists), 1))


def lists_of(task: RankingTask, ranker: Ranker, k: int) -> GivenLists:
    """Return the top k of each user, from the same rankings that are measured."""
    recorder = _Recorder(ranker)
    task.values(recorder)
    lists = np.concatenate(recorder.lists)[:, :k]
    n_items = len(task.items)
    exposure = exposure_counts(lists, n_items, lists.shape[1])
    order = np.argsort(task.train_rows, kind="stable")
    band = np.empty(n_items, dtype=np.int64)
    band[order] = np.arange(n_items) * BANDS // n_items
    weights = (task.train_rows, np.bincount(task.relevant.values, minlength=n_items), exposure)
    by_band = np.stack([np.bincount(band, weights=of, minlength=BANDS).astype(np.float64) for of in weights])
    by_band /= np.maximum(by_band.sum(axis=1, keepdims=True), 1e-300)
    return GivenLists(
        lists.shape[1],
        task.users,
        task.items,
        lists,
        task.relevant,
        exposure,
        task.train_rows,
        _overlap(lists),
        by_band,
    )


class _Recorder(Ranker):
    """Records the lists of a ranker."""

    def __init__(self, ranker: Ranker) -> None:
        self.name, self.inner = ranker.name, ranker
        self.lists: list[NDArray[np.int32]] = []

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank, and record."""
        found = self.inner.rank(queries, k)
        self.lists.append(np.asarray(found))
        return found


def _overlap(lists: NDArray[np.int32]) -> float:
    """Return the mean share of a list's items that are in another user's; nan below two users."""
    n = len(lists)
    if n < 2:
        return float("nan")
    draw = np.random.default_rng(0)
    one = draw.integers(n, size=_PAIRS)
    other = (one + draw.integers(1, n, size=_PAIRS)) % n
    a, b = lists[one], lists[other]
    common = ((a[:, :, None] == b[:, None, :]) & (a[:, :, None] >= 0)).sum(axis=(1, 2))
    length = np.maximum(np.minimum((a >= 0).sum(axis=1), (b >= 0).sum(axis=1)), 1)
    return float(np.mean(common / length))
