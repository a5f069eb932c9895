"""What all approximate indexes share: full lists under filters, exact scores, exact order.

The library proposes items; the allowed ones are scored by the kernel of the exact scan. If a user's list is
too short after that (items seen, denied, or not found), the search is repeated with twice the items and twice
the effort, until a scan of every candidate is cheaper.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.exact import rescore, scan
from twotower.retrieval.index import Index

_USERS_AT_ONCE = 1024  # the library's proposals for them are held in memory


class ApproximateIndex(Index):
    """An index whose library proposes items.

    Attributes:
        scans_per_fetch: number of candidates that are scanned in the time of fetching one more item, on one
            thread. It affects only speed.
    """

    scans_per_fetch: ClassVar[int]

    @abstractmethod
    def _first_fetch(self, k: int) -> int:
        """Return how many items to fetch at first, at least k."""

    @abstractmethod
    def _nearest(self, users: NDArray[np.float32], fetch: int, effort: int) -> NDArray[np.int64]:
        """Return (n_users, fetch) item rows of high score, -1 where there are none; each user on its own.

        Args:
            users: (n_users, dim), finite.
            fetch: at most the number of items.
            effort: 1, 2, 4, ...: a multiple of the work that the parameters set.
        """

    def _search(
        self, users: NDArray[np.float32], k: int, seen: Lists, rows: NDArray[np.int32] | None
    ) -> Candidates:
        if self._scan_is_cheaper(k, rows):
            return scan(users, self.items, k, seen, rows)
        allowed = None
        if rows is not None:
            allowed = np.zeros(self.n_items, dtype=np.bool_)
            allowed[rows] = True
        top = Candidates.empty(users.shape[0], k)
        left = []
        for start in range(0, users.shape[0], _USERS_AT_ONCE):
            some = np.arange(start, min(start + _USERS_AT_ONCE, users.shape[0]))
            left.append(self._search_some(users, k, seen, allowed, some, top))
        short = np.concatenate([np.empty(0, dtype=np.int64), *left])
        if short.size:
            exact = scan(users[short], self.items, k, seen.of(short), rows)
            top.items[short], top.scores[short] = exact.items, exact.scores
        return top

    def _scan_is_cheaper(self, k: int, rows: NDArray[np.int32] | None) -> bool:
        if 2 * self._first_fetch(k) >= self.n_items:
            return True
        # Among `rows` k items are found when about k * n_items / rows are fetched.
        return rows is not None and rows.size**2 <= self.scans_per_fetch * k * self.n_items

    def _search_some(
        self,
        users: NDArray[np.float32],
        k: int,
        seen: Lists,
        allowed: NDArray[np.bool_] | None,
        some: NDArray[np.int64],
        top: Candidates,
    ) -> NDArray[np.int64]:
        """Write the answers of the users ``some`` into ``top`` and return the rows of those left short."""
        finite = np.isfinite(users[some]).all(axis=1)
        odd, waiting = some[~finite], some[finite]  # libraries don't define what they do with NaN
        fetch, effort = self._first_fetch(k), 1
        while waiting.size and (effort == 1 or fetch * self.scans_per_fetch <= self.n_items):
            everyone = waiting.size == users.shape[0]  # no rows to select, as for a single user
            asked = users if everyone else users[waiting]
            lists = seen if everyone else seen.of(waiting)
            found = self._nearest(asked, fetch, effort)
            part = rescore(asked, self.items, k, lists, allowed, found)
            top.items[waiting], top.scores[waiting] = part.items, part.scores
            waiting = waiting[part.items[:, -1] < 0]
            fetch, effort = 2 * fetch, 2 * effort
        return np.concatenate([odd, waiting])
