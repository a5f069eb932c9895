"""`Ranker`: whatever ranks a catalogue for users, a trained model or a baseline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.dataset import Dataset
from twotower.data.item_lists import ItemLists


@dataclass(frozen=True, eq=False)
class Queries:
    """Users to rank the whole catalogue for.

    Attributes:
        users: distinct ids (n_users,).
        items: the catalogue: distinct ids (n_items,), warm or cold. Every one is a candidate of every user
            unless it is barred.
        barred: rows of ``items`` that a user is never given: seen in train, say, or outside the candidates.
        tables: where the features of users and items are found; its interactions are not looked at.
    """

    users: pl.Series
    items: pl.Series
    barred: ItemLists
    tables: Dataset


class Ranker(ABC):
    """Ranks a catalogue for users.

    Attributes:
        name: what tables and reports call it.
    """

    name: str

    @abstractmethod
    def rank(self, queries: Queries, k: int) -> NDArray[np.int32]:
        """Return the rows of ``queries.items`` that each user is given, best first, each once.

        Users and items never seen in training are ranked too, as well as the model can; equal scores by
        lower row.

        Args:
            queries: who asks, among what.
            k: at least 1; it may exceed the catalogue.

        Returns:
            (n_users, k) int32; -1 after the last where a user has fewer than ``k`` candidates.
        """
