"""`AlsBlock`: a block's part of a round of alternating least squares (see `LinearALS`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twotower.distributed.block import Block, BlockSide, Entries, by_block, grouped, other
from twotower.kernels.least_squares import Gramian, solve_rows, squared_error
from twotower.kernels.pairs import Pairs
from twotower.training.closed_form.hard_negatives import Pool

F32 = NDArray[np.float32]


class SideNow(NamedTuple):
    """What the rows of one side have in a round.

    Attributes:
        vectors: (n, d) of each member.
        ridge: (n,), strength of each.
        cells: (n,), factor of the weight of each one's cells.
    """

    vectors: list[F32]
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
        self.now = {which: of._replace(vectors=list(of.vectors)) for which, of in now.items()}
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
        U = np.concatenate(self.now["users"].vectors, axis=1)
        user, item = pool.drawn(U, own, seed, before=side.first)
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

    def gramian(self, which: str, member: int) -> F32:
        """Return ``sum_j c_j x_j x_j'``, (d, d), of this block's rows of a side."""
        now = self.now[which]
        vectors = now.vectors[member]
        by_cell: F32 = vectors * now.cells[:, None]
        squares: F32 = by_cell.T @ vectors
        return squares

    def send(self, which: str, member: int) -> list[F32]:
        """Return the vectors of ``which`` that each block needs; nothing for this one."""
        vectors, routes = self.now[which].vectors[member], self.sides[which].routes
        return [vectors[[] if block == self.number else rows] for block, rows in enumerate(routes)]

    def solve(self, which: str, member: int, squares: F32, towards: F32, *parts: F32) -> SolvedRows:
        """Move the rows of one side towards their solution; see `solve_rows`.

        Args:
            which: the side.
            member: of the vectors.
            squares: the Gramian of all rows of the other side.
            towards: (n, d), or one row for all: what the ridge regularises towards.
            parts: the vectors of the other side that each block has sent.
        """
        now, side, against = self.now[which], self.sides[which], other(which)
        start, d = now.vectors[member], squares.shape[0]
        near = np.zeros((len(side.needed), d + 1), np.float32)  # the last column is an offset of 0
        at = 0
        for block, part in enumerate(parts):
            sent = part
            if block == self.number:
                sent = self.now[against].vectors[member][self.sides[against].routes[block]]
            near[at : at + len(sent), :-1] = sent
            at += len(sent)
        prior, one = np.broadcast_to(towards, start.shape), np.ones(len(near), np.float32)
        gramian = Gramian(squares, np.zeros(d, np.float32))
        now.vectors[member] = solved = solve_rows(
            side.pairs, near, start, prior, now.ridge, now.cells, one, gramian=gramian
        )
        if which == "items":
            return SolvedRows(solved, 0.0)
        plain = self.plain.get(which, side)
        if side is not plain:  # the loss is that of the pairs alone
            near = near[np.searchsorted(side.needed, plain.needed)]
        return SolvedRows(solved, squared_error(solved, near[:, :-1], plain.pairs) * plain.total)


def _with(side: BlockSide, own: Pairs, more: Entries, n_other: int) -> BlockSide:
    """Return a side with more pairs, after its own of the same row."""
    given = np.ones(len(own), np.float32) if own.weight is None else own.weight
    pairs = grouped(0, side.n, [(own.item, own.user, own.label, given), (more[1], more[0], *more[2:])])
    return BlockSide.of(side.first, pairs, n_other)
