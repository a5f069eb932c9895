"""`AlsBlock`: a block's part of a round of alternating least squares (see `LinearALS`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twotower.distributed.block import Block, BlockSide, Entries, by_block, grouped
from twotower.kernels.least_squares import Gramian, gramian_of, solve_rows, squared_error
from twotower.kernels.pairs import Pairs
from twotower.training.closed_form.hard_negatives import Pool

F32 = NDArray[np.float32]
Columns = NDArray[np.int64]


class SideNow(NamedTuple):
    """What the rows of one side have in a round.

    Attributes:
        vectors: (n, width).
        ridge: (n,), strength of each.
        cells: (n,), factor of the weight of each one's cells.
    """

    vectors: F32
    ridge: F32
    cells: F32


class SolvedRows(NamedTuple):
    """Vectors (n, d), and the sum of the weighted squared errors of their pairs."""

    vectors: F32
    squares: float


class AlsBlock(Block):
    """Some users and some items, with their vectors in this round."""

    def __init__(self) -> None:
        super().__init__()
        self.now: dict[str, SideNow] = {}
        self.plain: dict[str, BlockSide] = {}  # sides without the hard negatives of this round

    def begin(self, now: Mapping[str, SideNow]) -> None:
        """Begin a round with what the rows have."""
        self.now = {which: of._replace(vectors=of.vectors.copy()) for which, of in now.items()}
        self.sides.update(self.plain)
        self.plain.clear()

    def draw(self, pool: Pool, seed: list[int], weight: float, bounds: NDArray[np.int64]) -> list[Entries]:
        """Add hard negatives of the users to their pairs of this round, and return them by block of items.

        Args:
            pool: the items that they come from.
            seed: of the draws.
            weight: of one of them; a pair has 1.
            bounds: (blocks + 1,) of the items.
        """
        side = self.plain["users"] = self.sides["users"]
        own = Pairs(side.pairs.indptr, side.needed[side.pairs.item], side.pairs.label, side.pairs.weight)
        user, item = pool.drawn(self.now["users"].vectors, own, seed, before=side.first)
        more = (
            user.astype(np.int32),
            item.astype(np.int32),
            np.zeros(len(user), np.float32),
            np.full(len(user), weight, np.float32),
        )
        self.sides["users"] = _with(side, own, more, int(bounds[-1]))
        return by_block(more[0] + np.int32(side.first), *more[1:], bounds)

    def mix(self, n_users: int, *parts: Entries) -> None:
        """Add the hard negatives of all blocks to the items' pairs of this round."""
        side = self.plain["items"] = self.sides["items"]
        own = Pairs(side.pairs.indptr, side.needed[side.pairs.item], side.pairs.label, side.pairs.weight)
        user, item, label, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        self.sides["items"] = _with(side, own, (item - np.int32(side.first), user, label, weight), n_users)

    def gramian(self, which: str, columns: Columns) -> Gramian:
        """Return the Gramian of this block's rows of a side."""
        now = self.now[which]
        return gramian_of(_with_offset(now.vectors[:, columns]), now.cells)

    def send(self, which: str, columns: Columns) -> list[F32]:
        """Return the vectors of ``which`` that each block needs."""
        vectors = self.now[which].vectors[:, columns]
        return [vectors[rows] for rows in self.sides[which].routes]

    def solve(self, which: str, columns: Columns, gramian: Gramian, towards: F32, *parts: F32) -> SolvedRows:
        """Move the rows of one side towards their solution; see `solve_rows`.

        Args:
            which: the side.
            columns: of the vectors.
            gramian: of all rows of the other side.
            towards: (n, d), what the ridge regularises towards.
            parts: the vectors of the other side that each block has sent.
        """
        near, now, side = np.concatenate(parts), self.now[which], self.sides[which]
        one = np.ones(len(near), np.float32)
        start = now.vectors[:, columns]
        given = (side.pairs, _with_offset(near), start, towards, now.ridge, now.cells, one)
        solved = solve_rows(*given, gramian=gramian)
        now.vectors[:, columns] = solved
        if which == "items":
            return SolvedRows(solved, 0.0)
        plain = self.plain.get(which, side)
        if side is not plain:  # the loss is that of the pairs alone
            near = near[np.searchsorted(side.needed, plain.needed)]
        return SolvedRows(solved, squared_error(solved, near, plain.pairs) * plain.total)


def _with(side: BlockSide, own: Pairs, more: Entries, n_other: int) -> BlockSide:
    """Return a side with more pairs, after its own of the same row."""
    given = np.ones(len(own), np.float32) if own.weight is None else own.weight
    pairs = grouped(0, side.n, [(own.item, own.user, own.label, given), (more[1], more[0], *more[2:])])
    return BlockSide.of(side.first, pairs, n_other)


def _with_offset(vectors: F32) -> F32:
    """Return the vectors with an offset of 0, as `solve_rows` has them."""
    return np.concatenate([vectors, np.zeros((len(vectors), 1), np.float32)], axis=1)
