"""Hard negatives of `LinearALS`: unobserved items that a user is scored high on, as pairs of target 0.

The target 0 of all cells pulls every unobserved item down alike. On sparse data that is not enough where it
matters, at the top of the lists. So in the last epochs some of each user's items there are drawn again and
join the least-squares problem as pairs of target 0, with a small weight: some of them are what the user will
like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs

F32 = NDArray[np.float32]

POOL = 4096
"""Items drawn at random in each epoch, from which the negatives of all users come."""
TOP_SHARE, TOP_ITEMS = 0.05, 500
"""A user's negatives come from this share of the pool, those of highest score; from a share that stands for
this many items of the catalogue if that is less."""
PER_PAIR = 2
"""Negatives of a user, as a multiple of the user's number of pairs."""
USERS = 1024
"""Users whose scores are in memory at once."""


class Negatives(NamedTuple):
    """Users and items (n,), one of each per negative, users ascending; of the users before ``last``."""

    last: int
    user: NDArray[np.int64]
    item: NDArray[np.int64]


def draws(U: F32, V: F32, pairs: Pairs, seed: int | list[int]) -> Iterator[Negatives]:
    """Draw hard negatives for each user, without the user's own items, `USERS` at a time.

    Args:
        U: (n_users, d) vectors now.
        V: (n_items, d) the same of items.
        pairs: the training pairs.
        seed: of the draws.

    Yields:
        Those of users that follow one another.
    """
    return Pool.of(V, seed).draws(U, pairs, seed)


@dataclass(frozen=True, eq=False)
class Pool:
    """The items that an epoch's negatives come from.

    Attributes:
        items: (m,) their rows, ascending.
        vectors: (m, d).
        n_items: number of all items.
    """

    items: NDArray[np.int64]
    vectors: F32
    n_items: int

    @classmethod
    def of(cls, V: F32, seed: int | list[int]) -> Pool:
        """Draw the pool from items with vectors ``V``."""
        items = _drawn_items(np.random.default_rng(seed), len(V))
        return cls(items, V[items], len(V))

    def drawn(
        self, U: F32, pairs: Pairs, seed: int | list[int], before: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return users and items of all that `draws` gives."""
        nothing = Negatives(0, np.empty(0, np.int64), np.empty(0, np.int64))
        _, users, items = zip(nothing, *self.draws(U, pairs, seed, before), strict=True)
        return np.concatenate(users), np.concatenate(items)

    def draws(self, U: F32, pairs: Pairs, seed: int | list[int], before: int = 0) -> Iterator[Negatives]:
        """Draw for some of all users; see `draws`.

        Args:
            U: (n, d) their vectors.
            pairs: those of these users.
            seed: that of the pool.
            before: number of users before these: what is drawn for these users depends on it.
        """
        rng = np.random.default_rng(seed)
        pool = _drawn_items(rng, self.n_items)
        most = max(1, round(min(TOP_SHARE, TOP_ITEMS / self.n_items) * len(pool)))
        for start in range(0, before, USERS):  # their draws, in vain
            rng.permuted(np.empty((min(USERS, before - start), most), np.int64), axis=1)
        for start in range(0, len(U), USERS):
            scores = U[start : start + USERS] @ self.vectors.T
            rows = slice(start, start + len(scores))
            for_user = pairs.indptr[start : rows.stop + 1]
            _bar(scores, for_user, pairs.item, pool)
            top = np.argpartition(-scores, min(most, len(pool) - 1), axis=1)[:, :most]
            top = rng.permuted(top, axis=1)
            kept = np.arange(most) < (PER_PAIR * np.diff(for_user))[:, None]
            kept &= np.isfinite(np.take_along_axis(scores, top, axis=1))
            user, at = np.nonzero(kept)
            yield Negatives(rows.stop, user + start, pool[top[user, at]])


def _drawn_items(rng: np.random.Generator, n_items: int) -> NDArray[np.int64]:
    return np.sort(rng.choice(n_items, min(POOL, n_items), replace=False))


@njit(cache=True)
def _bar(scores, indptr, item, pool):  # type: ignore[no-untyped-def]
    """Set the scores (rows, pool) of a user's own items to minus infinity."""
    for row in range(len(scores)):
        for p in range(indptr[row], indptr[row + 1]):
            at = np.searchsorted(pool, item[p])
            if at < len(pool) and pool[at] == item[p]:
                scores[row, at] = -np.inf
