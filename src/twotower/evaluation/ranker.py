"""`Ranker`: a model or a baseline that ranks the catalogue for users."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.retrieval import exact_top_k


@dataclass(frozen=True, eq=False)
class RankRequest:
    """What a `Ranker` is asked: users to rank a catalogue for.

    Attributes:
        users: distinct ids (n_users,).
        items: the catalogue: distinct ids (n_items,), warm or cold. Each is a candidate for every user unless
            it is barred.
        barred: rows of ``items`` that must not be recommended to a user, such as items seen in training.
        tables: has the features of users and items; its interactions are not used.
        context: (n_users,) columns of ``[schema.context]`` as each user asks; None without any.
    """

    users: pl.Series
    items: pl.Series
    barred: Lists
    tables: Dataset
    context: pl.DataFrame | None = None


class Ranker(ABC):
    """Ranks a catalogue for users.

    Attributes:
        name: its name in messages, tables and reports.
    """

    name: str = "ranker"

    @abstractmethod
    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Return the rows of ``queries.items`` recommended to each user, best first, without duplicates.

        Users and items never seen in training are ranked too, as well as the model can; ties by lower row.

        Args:
            queries: the users, and the candidates.
            k: length of the lists, at least 1; it may exceed the catalogue.

        Returns:
            (n_users, k) int32; padded with -1 if a user has fewer than ``k`` candidates.
        """


class VectorRanker(Ranker):
    """Ranks a fixed catalogue by the dot products of vectors.

    Args:
        U: float32 (n_users, dim), in the order of ``users``.
        V: float32 (n_items, dim), in the order of the catalogue.
        users: ids, ascending.
    """

    name = "two-tower"

    def __init__(self, U: NDArray[np.float32], V: NDArray[np.float32], users: pl.Series) -> None:
        self.U, self.V, self.users = U, V, Vocabulary(users)

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank the whole catalogue for some of the users."""
        return exact_top_k(self.U[self.users.rows(queries.users)], self.V, k, seen=queries.barred).items
