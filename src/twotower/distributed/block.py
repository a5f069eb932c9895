"""`Block`: consecutive users and consecutive items with their pairs, as one worker holds them.

A pair is held twice: with its user and with its item. What the rows of one side need of the other is worked
out once: the rows that their pairs name, so that a vector is sent to a block once a round, and only to those
blocks that need it (as MLlib's in-blocks and out-blocks, and Mehta et al., "ALX: Large Scale Matrix
Factorization on TPUs", 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs

Rows = NDArray[np.int32]
Entries = tuple[Rows, Rows, NDArray[np.float32], NDArray[np.float32] | None]
"""Users, items, labels and weights (None: all 1) of some pairs."""
SIDES = ("users", "items")


def other(which: str) -> str:
    """Return the other side."""
    return SIDES[which == "users"]


@dataclass(frozen=True, eq=False)
class BlockSide:
    """Consecutive rows of one side.

    Attributes:
        first: number of the first one.
        pairs: those of these rows; an item is a place in ``needed``.
        needed: (m,) rows of the other side that the pairs name, ascending.
        routes: for each block the rows here, counted from 0, that its pairs name.
    """

    first: int
    pairs: Pairs
    needed: Rows
    routes: list[Rows] = field(default_factory=list)

    @classmethod
    def of(cls, first: int, pairs: Pairs, n_other: int) -> BlockSide:
        """Return rows whose pairs name rows of the other side, which has ``n_other``."""
        named = np.zeros(n_other, np.bool_)
        named[pairs.item] = True
        place = np.cumsum(named, dtype=np.int32) - np.int32(1)
        needed = np.flatnonzero(named).astype(np.int32)
        return cls(first, replace(pairs, item=place[pairs.item]), needed)

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.pairs.n_users

    @property
    def total(self) -> float:
        """Sum of the weights of the pairs."""
        weight = self.pairs.weight
        return float(len(self.pairs)) if weight is None else float(weight.sum(dtype=np.float64))


class Block:
    """What a worker holds; see the module. Blocks are numbered, and so are their rows of both sides."""

    def __init__(self) -> None:
        self.number = 0
        self.sides: dict[str, BlockSide] = {}

    def load(self, number: int, first: int, pairs: Pairs, n_items: int) -> Rows:
        """Take over consecutive users, and return the number of their pairs with each item, (n_items,).

        Args:
            number: of this block.
            first: row of the first user.
            pairs: those of the users.
            n_items: number of all items.
        """
        self.number = number
        weight = None if pairs.weight is None else pairs.weight.copy()  # what is received is read-only
        own = Pairs(pairs.indptr.copy(), pairs.item, pairs.label.copy(), weight)
        self.sides = {"users": BlockSide.of(first, own, n_items)}
        return np.bincount(pairs.item, minlength=n_items).astype(np.int32)

    def split(self, bounds: NDArray[np.int64]) -> list[Entries]:
        """Return the users' pairs by the block of their item.

        Args:
            bounds: (blocks + 1,) first item of each block, and the number of all.
        """
        users = self.sides["users"]
        pairs = users.pairs
        return by_block(
            pairs.user + np.int32(users.first), users.needed[pairs.item], pairs.label, pairs.weight, bounds
        )

    def join(self, first: int, n: int, n_users: int, *parts: Entries) -> None:
        """Take over ``n`` consecutive items with their pairs, from all blocks in their order."""
        self.sides["items"] = BlockSide.of(first, grouped(first, n, parts), n_users)

    def needs(self, which: str, bounds: NDArray[np.int64]) -> list[Rows]:
        """Return for each block the rows there, counted from 0, that this block's ``which`` side needs.

        Args:
            which: the side of this block.
            bounds: (blocks + 1,) of the other side.
        """
        needed = self.sides[which].needed
        cuts = np.searchsorted(needed, bounds)
        return [
            needed[start:end] - np.int32(first)
            for start, end, first in zip(cuts[:-1], cuts[1:], bounds[:-1], strict=True)
        ]

    def route(self, which: str, *needs: Rows) -> list[int]:
        """Take over which rows of ``which`` are sent to each block; return their numbers."""
        self.sides[which] = replace(self.sides[which], routes=list(needs))
        return [len(rows) for rows in needs]


def by_block(
    user: Rows,
    item: Rows,
    label: NDArray[np.float32],
    weight: NDArray[np.float32] | None,
    bounds: NDArray[np.int64],
) -> list[Entries]:
    """Return pairs by the block of their item, in their order."""
    block = np.searchsorted(bounds, item, side="right") - 1
    order = np.argsort(block.astype(np.int16), kind="stable")  # a counting sort
    cuts = np.cumsum(np.bincount(block, minlength=len(bounds) - 1))
    parts = np.split(order, cuts[:-1])
    return [(user[at], item[at], label[at], None if weight is None else weight[at]) for at in parts]


def grouped(first: int, n: int, parts: Sequence[Entries]) -> Pairs:
    """Return pairs by item, for ``n`` items from ``first`` on; a pair's user is its ``item``."""
    user, item, label = (np.concatenate([part[column] for part in parts]) for column in range(3))
    weights = [weight for *_, weight in parts if weight is not None]
    weight = np.concatenate(weights) if weights else None
    return Pairs.from_arrays(item - np.int32(first), user, label, weight, n_users=n)
