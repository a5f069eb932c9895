"""The squared loss over all user-item pairs: implicit feedback without sampling negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from twotower.config.bases import LEAST_GRADE, RankingConfig
from twotower.config.sections import NotNegative
from twotower.errors import ConfigError
from twotower.kernels.pairs import Pairs
from twotower.objectives.objective import CellWeight, Objective, PairLoss, Step, Workspace
from twotower.objectives.squared import Squared

ACTIVITY_POWER = 0.5
"""Power of a user's number of interactions in the user's share of ``unobserved_mass``."""


class AllPairsConfig(RankingConfig):
    """``all_pairs``: ranks; squared error over every pair of user and item."""

    name: Literal["all_pairs"] = "all_pairs"
    unobserved_mass: NotNegative = 12.0
    """Total weight of the target 0 of all pairs of user and item together, relative to that of the
    interactions. A user's share of it grows with the square root of the user's number of interactions."""
    unobserved_weight: NotNegative | None = None
    """Weight of the target 0 for every pair of user and item, instead of ``unobserved_mass``; an interaction
    has weight 1. ``"none"``: it follows from ``unobserved_mass``."""
    hard_weight: Literal["auto"] | NotNegative = "auto"
    """Weight of hard negatives: unobserved items that a user is scored high on, drawn again in each epoch
    after the fourth, two per interaction, with target 0. Only linear towers use them. ``auto``: 0.1 or 0
    (none), by validation, where ``regularisation`` is ``auto`` too."""
    min_grade: Annotated[float, Field(ge=0.0, le=1.0)] | None = LEAST_GRADE
    """With a label: target of the interaction with the lowest label. An interaction's target is ``min_grade +
    (1 - min_grade) * rank``, where ``rank`` is that of its label in the training set, from 0 to 1; an
    unobserved pair's is 0. So 0 treats the lowest labels as unobserved, and 1 treats all interactions alike.
    ``"none"``: only positives count, with target 1."""

    quadratic: ClassVar[Literal["", "pairs", "cells"]] = "cells"
    ensembles: ClassVar[bool] = False  # solved exactly, one wide vector is better than several narrow ones
    in_noise: ClassVar[bool] = True
    searched: ClassVar[Mapping[str, Any]] = {
        "regularisation": {"low": 0.1, "high": 1.0, "log": True},
        "unobserved_mass": {"low": 3.0, "high": 50.0, "log": True},
        "min_grade": ["none", 0.0, 0.2, 0.4, 0.6, 0.8],
    }
    needs_labels: ClassVar[tuple[str, ...]] = ("min_grade",)

    @property
    def grade_floor(self) -> float | None:
        """``min_grade``."""
        return self.min_grade

    def settled(self, *, solved: bool) -> Self:
        """Return the settings with every "auto" resolved."""
        hard = 0.0 if self.hard_weight == "auto" else self.hard_weight
        return super().settled(solved=solved).model_copy(update={"hard_weight": hard})

    def auto_regularisation(self, *, solved: bool) -> float:
        """Return the regularisation that "auto" stands for."""
        return 0.33


@dataclass(frozen=True)
class AllPairs(Objective):
    """``L = mean over pairs of (s - y)^2  +  mass * weighted mean over all users x items of s^2``.

    ``s = U[u] . V[i]``; positives have the label 1. The first term pulls observed pairs to their label, the
    second pulls every pair of a row of ``U`` and a row of ``V``, observed or not, to 0. No negatives are
    sampled: the sum of all squared scores is ``tr((U'U)(V'V))``, so the second term costs O((n_users +
    n_items) dim^2) instead of O(n_users n_items dim) (Hu, Koren, Volinsky 2008; Krichene et al., "Efficient
    Training on Very Large Corpora via Gramian Estimation", ICLR 2019; Rendle et al., "Revisiting the
    Performance of iALS on Item Recommendation Benchmarks", RecSys 2022).

    Both terms are means, so ``mass`` is the total weight of all pairs relative to that of the observed ones,
    whatever the size and density of the data. The best mass hardly depends on either; the best weight of one
    pair, ``mass * n_pairs / (n_users * n_items)`` (the unobserved weight of Rendle et al.), does. In the
    second mean a user with n pairs has the weight ``n ** power``.

    Degenerate cases: without pairs, or with weights that sum to 0, the first term is 0; if ``U`` or ``V`` has
    no rows, the second term is 0.

    Attributes:
        mass: total weight of all pairs, at least 0.
        power: of a user's number of pairs in the weight of the user's row, at least 0.
        shares: float32 (n_users,), the weights of the rows, 1 on average; None for equal ones.

    Raises:
        ConfigError: ``mass`` is negative or not finite.
    """

    Config: ClassVar[type[AllPairsConfig]] = AllPairsConfig
    whole: ClassVar[bool] = True
    mass: float
    power: float = 0.0
    shares: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, config: AllPairsConfig, n_pairs: int, n_cells: int) -> Self:
        """Return the objective; the loss is a mean over pairs, so a cell's weight is scaled to all cells."""
        if config.unobserved_weight is None:
            return cls(config.unobserved_mass, ACTIVITY_POWER)
        return cls(config.unobserved_weight * n_cells / max(n_pairs, 1))

    def on(self, pairs: Pairs) -> Self:
        """Return the objective with the weights of the users' rows; see `Objective`."""
        if not self.power:
            return self
        weights = pairs.lists.lengths.astype(np.float64) ** self.power
        mean = float(weights.mean()) if len(pairs) else 1.0
        return replace(self, shares=(weights / mean).astype(np.float32))

    def cell_weight(self, counts: NDArray[np.int64], n_items: int) -> CellWeight:
        """Return the weight of a cell; see `Objective`."""
        each = counts.astype(np.float64) ** self.power
        return CellWeight(
            self.mass * int(counts.sum()) / max(float(each.sum()) * n_items, 1e-300), self.power
        )

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mass) and self.mass >= 0):
            raise ConfigError(f"all_pairs needs a finite mass of at least 0; got {self.mass}.")

    def __call__(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace | None = None,
        step: Step | None = None,
    ) -> PairLoss:
        """Return the loss and its gradients; see `Objective`."""
        loss, dU, dV = Squared()(U, V, pairs, workspace=workspace)
        return PairLoss(loss + self._add_cells(U.detach(), V.detach(), dU, dV), dU, dV)

    def _add_cells(self, U: torch.Tensor, V: torch.Tensor, dU: torch.Tensor, dV: torch.Tensor) -> float:
        """Return the mean over all cells, and add its gradients."""
        cells = U.shape[0] * V.shape[0]
        if not cells or not self.mass:
            return 0.0
        weighted = U
        if self.shares is not None:
            weighted = U * torch.tensor(self.shares).to(U)[:, None]
        of_users, of_items = weighted.T @ U, V.T @ V  # (dim, dim) each
        scale = self.mass / cells
        squares = float((of_users.double() * of_items.double()).sum())
        dU.addmm_(weighted, of_items, alpha=2 * scale)
        dV.addmm_(V, of_users, alpha=2 * scale)
        return scale * squares

    def terms(self) -> tuple[Objective, ...]:
        """Return the mean over the pairs and that over all cells; see `Objective`."""
        return Squared(), AllCells(self.mass, self.power, self.shares)

    def of_users(self, rows: slice) -> Self:
        """Return the objective for some of the users; see `Objective`."""
        return self if self.shares is None else replace(self, shares=self.shares[rows])


class AllCells(AllPairs):
    """The second term of `AllPairs` alone."""

    def __call__(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace | None = None,
        step: Step | None = None,
    ) -> PairLoss:
        """Return the loss and its gradients; see `Objective`."""
        dU, dV = torch.zeros_like(U), torch.zeros_like(V)
        return PairLoss(self._add_cells(U.detach(), V.detach(), dU, dV), dU, dV)

    def weight(self, pairs: Pairs) -> float:
        """Return the number of users, each of whom has a cell with every item; see `Objective`."""
        return float(pairs.n_users)

    def terms(self) -> tuple[Objective, ...]:
        """Return itself; see `Objective`."""
        return (self,)
