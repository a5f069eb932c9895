"""`VariationalBlock`: a block's part of a round of alternating variational Bayes (see `Variational`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from twotower.distributed.block import Block, other
from twotower.kernels.layout import VectorLayout
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs
from twotower.training.closed_form.gaussians import Gaussians, solve
from twotower.training.closed_form.grouped_pairs import F32, F64, GroupedPairs


class SolvedGaussians(NamedTuple):
    """Means (n, d), their moments (None where nobody else asks for them), and the spread (d, d)."""

    mean: F32
    moments: F32 | None
    spread: F64


class VariationalBlock(Block):
    """Some users and some items, with their Gaussians in this round."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Pairs] = {}  # with weights of this round
        self.found: dict[str, list[Gaussians]] = {"users": [], "items": []}
        self.reliability: F32 = np.empty(0, np.float32)

    def begin(self, found: Mapping[str, list[Gaussians]], reliability: F32) -> None:
        """Begin a round.

        Args:
            found: the Gaussians of each member, of the side that is solved last.
            reliability: (n,) of the users here.
        """
        self.found = {"users": [], "items": []} | {which: list(of) for which, of in found.items()}
        self.reliability = reliability

    def tell(self) -> list[F32]:
        """Return the reliability of the users that each block's items have."""
        return [self.reliability[rows] for rows in self.sides["users"].routes]

    def hear(self, *parts: F32) -> None:
        """Weight the pairs by the reliability of their users."""
        users, items = self.sides["users"].pairs, self.sides["items"].pairs
        of_users = np.repeat(self.reliability, users.lists.lengths)
        of_items = np.concatenate(parts)[items.item]
        self.rows = {"users": users.scaled(of_users), "items": items.scaled(of_items)}

    def send(self, which: str, member: int) -> list[F32]:
        """Return the moments of ``which`` that each block needs; nothing for this one."""
        moments, routes = self.found[which][member].moments, self.sides[which].routes
        return [moments[[] if block == self.number else rows] for block, rows in enumerate(routes)]

    def solve(
        self,
        which: str,
        member: int,
        prior: F32,
        strength: float,
        noise: float,
        shape: F64 | None,
        last: bool,
        *parts: F32,
    ) -> SolvedGaussians:
        """Return the Gaussians of one side given the other; see `gaussians.solve`.

        Args:
            which: the side.
            member: of the vectors.
            prior: (n, d), or one row for all.
            strength: of the prior.
            noise: variance of a label of weight 1.
            shape: (d, d), the prior's precision; None for the identity.
            last: whether this is the side that is solved last, whose moments are kept from round to round.
            parts: the moments of the other side that each block has sent.
        """
        against, n = other(which), self.sides[which].n
        own = self.found[against][member].moments[self.sides[against].routes[self.number]]
        near = np.concatenate([own if block == self.number else part for block, part in enumerate(parts)])
        prior = np.array(np.broadcast_to(prior, (n, prior.shape[1])))  # what is received is read-only
        shape = None if shape is None else shape.copy()
        given = Gaussians(near[:, :0], near)
        rows, spread = solve(self.rows[which], given, prior, np.full(n, strength), noise, shape=shape)
        self.found[which][member : member + 1] = [rows]
        return SolvedGaussians(rows.mean, rows.moments if last else None, spread)

    def send_means(self, which: str) -> list[F32]:
        """Return the means of all members, side by side, that each block needs of ``which``."""
        means = np.concatenate([of.mean for of in self.found[which]], axis=1)
        return [means[rows] for rows in self.sides[which].routes]

    def errors(self, *parts: F32) -> tuple[F64, F64]:
        """Return for each user here the weighted sum of squared errors, and the sum of weights, (n,) each.

        Args:
            parts: the items' means that each block has sent.
        """
        users = self.sides["users"].pairs
        near = np.concatenate(parts)
        own = np.concatenate([of.mean for of in self.found["users"]], axis=1)
        members = len(self.found["users"])
        layout = VectorLayout(own.shape[1] + members, members)
        U, V = layout.users(*layout.of_outputs(own)), layout.items(*layout.of_outputs(near))
        residual = score_pairs(U, V, users.user, users.item) / np.float32(members) - users.label
        grouped = GroupedPairs(users, users)
        return grouped.by_user([np.square(residual, dtype=np.float64)]), grouped.by_user()
