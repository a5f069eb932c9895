"""`Stage`: a step from candidates to candidates, between the search and the list."""

from __future__ import annotations

from abc import ABC, abstractmethod

from twotower.ranking.asked import Asked
from twotower.ranking.pool import Pool
from twotower.retrieval import Candidates


class Stage(ABC):
    """Takes the candidates of queries, best first, and gives others, or the same in another order."""

    @abstractmethod
    def candidates(self, k: int) -> int:
        """Return how many candidates it needs for lists of length k."""

    @abstractmethod
    def apply(self, asked: Asked, found: Candidates, pool: Pool) -> Candidates:
        """Return the candidates after this step, best first, with falling scores.

        Args:
            asked: n queries.
            found: their candidates.
            pool: what the queries may be given; candidates are places in it.
        """
