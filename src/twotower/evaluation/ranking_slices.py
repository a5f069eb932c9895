"""Which users and which relevant items are alike in what makes a ranking hard: cold or warm, busy or rare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.dataset import Dataset
from twotower.evaluation.ranking_task import RankingTask
from twotower.evaluation.slices import Slice, Slices, slices_of

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class RankingSlices:
    """Slices of a ranking task.

    Attributes:
        users: group -> slice, over the users (n_users,): the metrics of these users alone.
        items: group -> slice, over the relevant items (n_relevant,): lists and candidates are unchanged, and
            the items of the slice alone count as relevant.
    """

    users: Slices
    items: Slices


def ranking_slices(task: RankingTask, train: Dataset) -> RankingSlices:
    """Cut users and relevant items by what ``train`` knows of them; empty slices are left out.

    =================== ==================================================================================
    ``user``            ``warm`` and ``cold`` users: with and without train interactions
    ``user_activity``   the warm users in thirds by their number of train rows: ``low``, ``middle``,
                        ``high``; users of equal counts stay together
    ``item``            ``warm`` and ``cold`` relevant items
    ``item_popularity`` relevant items by their share of the train rows: ``cold``, ``tail``, ``middle``,
                        ``head``
    ``item_duration``   relevant items by quarter of duration, where the schema has one
    =================== ==================================================================================

    The slices of items are those that `twotower.evaluation.slices.slices_of` cuts of the held-out rows.
    """
    of_pairs = slices_of(task.positives, train)
    first = task.relevant[0][:-1]  # (n_users,) each user's first relevant pair: every user has one
    users: Slices = {"user": {name: Slice(part.where[first]) for name, part in of_pairs.pop("user").items()}}
    counts = _train_counts(task.users, train)
    if counts.any():
        users["user_activity"] = _thirds(counts)
    return RankingSlices(users, of_pairs)


def _train_counts(users: pl.Series, train: Dataset) -> IntArray:
    """Return the number of train rows (n_users,) of each user."""
    ids = train.interactions.get_column(train.schema.user).alias("user")
    counts = ids.to_frame().group_by("user").agg(pl.len().alias("count"))
    rows = users.alias("user").to_frame().join(counts, on="user", how="left", maintain_order="left")
    return rows.get_column("count").fill_null(0).cast(pl.Int64).to_numpy()


def _thirds(counts: IntArray) -> dict[str, Slice]:
    warm = counts > 0
    edges = np.quantile(counts[warm], [1 / 3, 2 / 3])
    band = np.where(warm, np.searchsorted(edges, counts), -1)  # (n_users,); an edge is in the lower
    slices = {}
    for number, name in enumerate(("low", "middle", "high")):
        where = band == number
        if where.any():
            inside = counts[where]
            slices[name] = Slice(where, (float(inside.min()), float(inside.max())))
    return slices
