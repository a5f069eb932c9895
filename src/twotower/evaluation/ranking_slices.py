"""Slices of users and relevant items by how hard they are to rank: cold or warm, active or rare."""

from __future__ import annotations

from dataclasses import dataclass

from twotower.data.dataset import Dataset
from twotower.evaluation.ranking_task import RankingTask
from twotower.evaluation.slices import Slice, Slices, slices_of


@dataclass(frozen=True)
class RankingSlices:
    """Slices of a ranking task.

    Attributes:
        users: group -> slice, over the users (n_users,): the metrics of these users alone.
        items: group -> slice, over the relevant items (n_relevant,): lists and candidates are unchanged, and
            only the items of the slice count as relevant.
    """

    users: Slices
    items: Slices


def ranking_slices(task: RankingTask, train: Dataset) -> RankingSlices:
    """Slice users and relevant items by their training rows; empty slices are left out.

    =================== ==================================================================================
    ``user``            ``warm`` and ``cold`` users: with and without train interactions
    ``user_activity``   the warm users in thirds by their number of training rows: ``low``, ``middle``,
                        ``high``; users of equal counts stay together
    ``item``            ``warm`` and ``cold`` relevant items
    ``item_popularity`` relevant items by their share of the train rows: ``cold``, ``tail``, ``middle``,
                        ``head``
    ``item_duration``   relevant items by quarter of duration, where the schema has one
    =================== ==================================================================================

    The slices of items are those that `twotower.evaluation.slices.slices_of` cuts of the held-out rows.
    """
    of_pairs = slices_of(task.positives, train)
    first = task.relevant.indptr[:-1]  # (n_users,) each user's first relevant pair: every user has one
    users: Slices = {
        group: {name: Slice(part.where[first], part.bounds) for name, part in of_pairs.pop(group).items()}
        for group in ("user", "user_activity")
        if group in of_pairs
    }
    return RankingSlices(users, of_pairs)
