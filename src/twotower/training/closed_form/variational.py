"""`Variational`: linear towers fitted to squared error in closed form by alternating variational Bayes.

Given the items' vectors, a user's vector is a regression on them, and vice versa. The prior mean of a vector
is predicted from its features and the *other* rows' vectors (`FeatureRidge`; `linear_als`
explains why). Rows are Gaussians (`gaussians`): a row with few pairs is uncertain, and the
other side takes that into account. The shape of the prior's covariance, over the components of a vector and
its bias, is estimated from the rows' deviations from their predictions (empirical Bayes, by expectation
maximisation); only its scale is set, by the regularisation. Users with noisier labels have less weight
(`Reliability`).

Ensemble members differ in their starting points, and their errors partly cancel.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.towers import LinearTower, TwoTowerModel
from twotower.towers.fold_in import unit_precision
from twotower.towers.linear import SCALE
from twotower.training.closed_form.feature_ridge import Design, FeatureRidge
from twotower.training.closed_form.gaussians import Gaussians, moments, solve
from twotower.training.closed_form.grouped_pairs import F32, F64, GroupedPairs, Reliability
from twotower.training.closed_form.solver import Solver
from twotower.training.closed_form.wide_ridge import for_newcomers
from twotower.training.trainer import TrainingTask

START = 0.1
"""Standard deviation of the initial vectors, so that the members differ."""


class VariationalConfig(TrainingConfig):
    """``variational``: solves linear towers with squared errors of a label, in closed form."""


class Variational(Solver):
    """Fits all weights of a model with linear towers; see `Trainer`.

    The penalty of the task is the strength of the prior, as a share of the average row's number of pairs.
    """

    Config: ClassVar[type[VariationalConfig]] = VariationalConfig
    settles: ClassVar[bool] = True

    def __init__(self, task: TrainingTask, config: Any) -> None:
        super().__init__(task, config)
        self.strengths, self.priors, self.newcomers = {}, {}, {}
        for which, counts in self.counted().items():
            side = self.sides[which]
            self.strengths[which] = task.penalty * float(counts.mean())
            design = Design.of(side)
            # the prior of a row: all rows have equal weight
            self.priors[which] = FeatureRidge(design, np.ones(len(counts)))
            # for cold rows: rows are weighted by their precision
            self.newcomers[which] = for_newcomers(side, counts.astype(np.float64))
        # the side with more rows first: between rounds only the other side's Gaussians are kept
        self.order = sorted(self.sides, key=lambda which: -self.sides[which].rows)
        self.kept: list[F32] = []  # moments of the second side, per member
        self.spreads: dict[str, list[F64]] = {"users": [], "items": []}  # mean of strength x covariance
        self.reliability: Reliability | None = None

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the towers are linear and the objective least squares over the pairs."""
        linear = isinstance(model, LinearTower.Config) and not model.normalise
        return linear and objective.quadratic == "pairs"

    def counted(self) -> dict[str, NDArray[np.int64]]:
        """Group the training pairs, and return the number of those of each row, by side."""
        task = self.task
        self.grouped = GroupedPairs.of(task.pairs, task.items.rows, float(task.model.mean))
        return {"users": np.diff(self.grouped.users.indptr), "items": np.diff(self.grouped.items.indptr)}

    @torch.no_grad()
    def solve(self, model: TwoTowerModel) -> float:
        """Solve for the vectors of both sides and for the feature weights; return the mean squared error.

        It is that of the score (the mean over members) on all training pairs at the end.
        """
        begun = self.reliability is not None
        now = self.vectors(model)
        if not begun and not self.task.started:
            now = {which: vectors * np.float32(START / SCALE) for which, vectors in now.items()}
        reliability = self.reliability or Reliability(np.ones(self.task.pairs.n_users), 1.0)
        towards = {which: self.priors[which].fit(vectors).honest for which, vectors in now.items()}
        members, second = model.layout.outputs, self.order[1]
        if not begun:
            self.kept = [moments(now[second][:, own]) for own in members]
        shapes: list[dict[str, F64 | None]] = [dict.fromkeys(now) for _ in members]
        if begun:
            for member, own in enumerate(members):
                for which in self.order:
                    away = now[which][:, own] - np.ascontiguousarray(towards[which][:, own])
                    shapes[member][which] = self._shape(which, member, away, reliability.noise)
        return self.round(model, now, towards, reliability, shapes)

    def round(
        self,
        model: TwoTowerModel,
        now: dict[str, F32],
        towards: dict[str, F32],
        reliability: Reliability,
        shapes: list[dict[str, F64 | None]],
    ) -> float:
        """Solve for both sides, write the towers, and return the mean squared error.

        Args:
            model: changed in place.
            now: the vectors, (rows, width) each.
            towards: the means of the priors, alike.
            reliability: of the users' labels.
            shapes: for each member the shapes of the priors of both sides; None for the identity.
        """
        rows = reliability.weighted(self.grouped)
        for member, own in enumerate(model.layout.outputs):
            found = Gaussians(now[self.order[1]][:, own], self.kept[member])
            for which in self.order:
                prior = np.ascontiguousarray(towards[which][:, own])
                strength = np.full(len(prior), self.strengths[which])
                form = shapes[member][which]
                found, spread = solve(rows[which], found, prior, strength, reliability.noise, shape=form)
                now[which][:, own] = found.mean
                self.spreads[which][member : member + 1] = [spread / len(prior)]
            self.kept[member] = found.moments
        self.write(model, now, self.newcomers, np.arange(model.users.width))
        U, V = (model.encode(self.sides[which], which).cpu().numpy() for which in ("users", "items"))
        squares = self.grouped.squares(self.task.pairs, U, V)
        self.reliability = Reliability.of(squares, self.grouped.by_user())
        return float(squares.sum() / len(self.task.pairs))

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the second side's Gaussians, the spreads of both, and the users' reliability."""
        if self.reliability is None:
            return {}
        arrays: dict[str, NDArray[np.generic]] = {f"kept.{m}": kept for m, kept in enumerate(self.kept)}
        for which, spreads in self.spreads.items():
            arrays[f"spread.{which}"] = np.stack(spreads)
        arrays["of_users"], arrays["noise"] = self.reliability.of_users, np.array([self.reliability.noise])
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Take over the state that `tensors` returned."""
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        self.kept = [arrays[f"kept.{member}"] for member in range(len(arrays["spread.users"]))]
        self.spreads = {which: list(arrays[f"spread.{which}"]) for which in self.spreads}
        self.reliability = Reliability(arrays["of_users"], float(arrays["noise"][0]))

    def _shape(self, which: str, member: int, away: F32, noise: float) -> F64:
        """Return the prior's precision, of determinant 1, from the rows' deviations from predictions."""
        lie = away.T.astype(np.float64) @ away * (self.strengths[which] / len(away))
        covariance = lie + self.spreads[which][member]
        return unit_precision(covariance / noise)
