"""`ExactIndex`: scores every candidate, so it is always exact."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.exact import scan
from twotower.retrieval.index import Index, Parameters


class ExactIndex(Index):
    """Scores every candidate. Up to tens of thousands of items other indexes are hardly faster."""

    name = "exact"

    @classmethod
    def _build(cls, items: NDArray[np.float32], parameters: Parameters) -> Self:
        return cls(items, parameters)

    def _search(
        self, users: NDArray[np.float32], k: int, seen: Lists, rows: NDArray[np.int32] | None
    ) -> Candidates:
        return scan(users, self.items, k, seen, rows)

    @property
    def memory(self) -> int:
        """Bytes besides the item vectors: none."""
        return 0

    def _payload(self) -> bytes:
        return b""

    @classmethod
    def _restore(cls, items: NDArray[np.float32], parameters: Parameters, payload: bytes) -> Self:
        if payload:
            raise ValueError("an exact index has no data after its header")
        return cls(items, parameters)
