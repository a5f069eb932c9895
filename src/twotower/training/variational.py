"""`Variational`: linear towers trained on squared error in closed form, by turns, without a gradient.

Given the items' vectors a user's is a regression on them, and the other way round. What a vector is drawn to
is what its features and the *other* rows' vectors say (`FeatureRidge`; the reason is told in
`twotower.training.solving`). Rows are Gaussians (`twotower.training.gaussians`): one of few pairs is known
badly, and what it meets takes that into account. The shape of the prior's covariance, over the places of a
vector and its bias, is learnt from how far the rows lie from what features say (empirical Bayes, by
expectation maximisation); only its size is set, by the regularisation.
Users whose labels are noisier count less (`Reliability`).

Members differ by where they start, and their errors partly cancel.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.model import SideArrays, TwoTowerModel
from twotower.model.linear_tower import SCALE
from twotower.objectives import score_pairs, unit_precision
from twotower.training.batches import TrainPairs
from twotower.training.feature_ridge import Design, FeatureRidge
from twotower.training.gaussians import Gaussians, moments, solve
from twotower.training.grouped_pairs import F32, F64, GroupedPairs, Reliability
from twotower.training.solver import Solver

START = 0.1
"""Standard deviation of the vectors at the start. The members' are to differ."""


class Variational(Solver):
    """Solves for everything that a model of linear towers has.

    Args:
        pairs: the train pairs.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
        mean: constant of all scores.
        penalty: strength of the prior; a row's is as much as that share of the average row's pairs.
    """

    def __init__(
        self, pairs: TrainPairs, users: SideArrays, items: SideArrays, mean: float, penalty: float
    ) -> None:
        super().__init__(users, items)
        self.pairs, self.grouped = pairs, GroupedPairs.of(pairs, mean)
        self.strengths, self.priors, self.newcomers = {}, {}, {}
        for which, side, rows in (("users", users, self.grouped.users), ("items", items, self.grouped.items)):
            counts = np.diff(rows.indptr)
            self.strengths[which] = penalty * float(counts.mean())
            design = Design.of(side)
            # what a row is drawn to: the draw is the same for all
            self.priors[which] = FeatureRidge(design, np.ones(len(counts)))
            # what a row never seen is taken for: rows weigh by what is known of them
            self.newcomers[which] = FeatureRidge(design, counts)
        # the side of more rows first: between rounds the other's Gaussians alone are kept
        self.order = sorted(self.sides, key=lambda which: -self.sides[which].rows)
        self.kept: list[F32] = []  # moments of the second side, of each member
        self.spreads: dict[str, list[F64]] = {"users": [], "items": []}  # mean of strength times covariance
        self.reliability: Reliability | None = None

    @torch.no_grad()
    def solve(self, model: TwoTowerModel) -> float:
        """Solve for the vectors of both sides, and for what features say; return the mean squared error.

        That of the score, the mean of the members', over all train pairs at the end.
        """
        first, second = self.order
        begun = self.reliability is not None
        now = self.vectors(model)
        if not begun:
            now = {which: vectors * np.float32(START / SCALE) for which, vectors in now.items()}
        reliability = self.reliability or Reliability(np.ones(self.pairs.n_users), 1.0)
        rows = reliability.weighted(self.grouped)
        towards = {which: self.priors[which].fit(vectors).honest for which, vectors in now.items()}
        members = np.array_split(np.arange(model.users.width), model.config.n_members)
        if not begun:
            self.kept = [moments(now[second][:, own]) for own in members]
        for member, own in enumerate(members):
            found = Gaussians(now[second][:, own], self.kept[member])
            for which in (first, second):
                prior = np.ascontiguousarray(towards[which][:, own])
                away = now[which][:, own] - prior
                form = self._shape(which, member, away, reliability.noise) if begun else None
                strength = np.full(len(prior), self.strengths[which])
                found, spread = solve(rows[which], found, prior, strength, reliability.noise, shape=form)
                now[which][:, own] = found.mean
                self.spreads[which][member : member + 1] = [spread / len(prior)]
            self.kept[member] = found.moments
        self.write(model, now, self.newcomers, np.arange(model.users.width))
        residual = self._residual(model)
        self.reliability = Reliability.of(self.grouped, residual)
        return float(self.grouped.by_user(np.square(residual)).sum() / len(residual))

    def state(self) -> dict[str, torch.Tensor]:
        """Return the second side's Gaussians, the spreads of both, and the users' reliability."""
        if self.reliability is None:
            return {}
        arrays: dict[str, NDArray[np.generic]] = {f"kept.{m}": kept for m, kept in enumerate(self.kept)}
        for which, spreads in self.spreads.items():
            arrays[f"spread.{which}"] = np.stack(spreads)
        arrays["of_users"], arrays["noise"] = self.reliability.of_users, np.array([self.reliability.noise])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` returned."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in state.items()}
        self.kept = [arrays[f"kept.{member}"] for member in range(len(arrays["spread.users"]))]
        self.spreads = {which: list(arrays[f"spread.{which}"]) for which in self.spreads}
        self.reliability = Reliability(arrays["of_users"], float(arrays["noise"][0]))

    def _shape(self, which: str, member: int, away: F32, noise: float) -> F64:
        """Return the prior's precision, of determinant 1, by how far rows lie from what features say."""
        lie = away.T.astype(np.float64) @ away * (self.strengths[which] / len(away))
        covariance = lie + self.spreads[which][member]
        return unit_precision(covariance / noise)

    def _residual(self, model: TwoTowerModel) -> F32:
        U, V = (model.encode(self.sides[which], which).cpu().numpy() for which in ("users", "items"))
        return score_pairs(U, V, self.pairs.user, self.pairs.item) - self.pairs.target
