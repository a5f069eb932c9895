"""`Source`: finds candidates for the second stage, as the towers do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from twotower.ranking.known import Queried
from twotower.ranking.pool import Pool
from twotower.retrieval import Candidates


class Source(ABC):
    """Finds items for queries by what a model knows. It keeps nothing of its own, so a bundle needs none.

    What it finds for a query does not depend on the other queries, and not on anything at or after the time
    of the query.

    Attributes:
        timed: whether it needs the times of interactions.
    """

    timed: ClassVar[bool] = False

    @staticmethod
    @abstractmethod
    def find(queries: Queried, pool: Pool, k: int) -> Candidates:
        """Return the best k items for each query, as places of the pool.

        Args:
            queries: n of them, with what is known.
            pool: what they may be given.
            k: at least 1.

        Returns:
            Best first, ties by lower row of the model; fewer than k where the source has nothing to say of
                more items.
        """
