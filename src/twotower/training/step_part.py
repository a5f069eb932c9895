"""`StepPart`: what of a step of gradients is here, all of it or the users and items of one worker of several.

Users are divided with their pairs, and a worker reads the vectors of all items of a step, of which each
worker encodes some. A step is then that of one process, up to the order of sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs
from twotower.objectives import Objective, PairLoss, Step, Workspace
from twotower.towers import SideArrays, TwoTowerModel

Numbers = TypeVar("Numbers", bound=NDArray[Any])


class ItemVectors(NamedTuple):
    """Vectors of a step's items.

    Attributes:
        every: (n_items, dim), of all items of the step.
        own: (m, dim), of those that are encoded here, recorded by autograd.
        at: int64 (m,), places of these; None if they are all.
    """

    every: torch.Tensor
    own: torch.Tensor
    at: torch.Tensor | None = None


class StepPart(ABC):
    """What of each step is here; see the module."""

    whole: ClassVar[bool]
    """Whether it is all."""
    number: int = 0
    """Of the part, from 0."""

    @abstractmethod
    def n_items(self, own: int) -> int:
        """Return the number of items of all parts, ``own`` of which are here."""

    @abstractmethod
    def sum(self, values: Numbers) -> Numbers:
        """Return the sum over all parts of an array that each of them has."""

    @abstractmethod
    def joined(self, values: Numbers) -> tuple[Numbers, int]:
        """Return the arrays (n, ...) of all parts, one after the other, and where that of this one begins."""

    @abstractmethod
    def user_vectors(
        self, model: TwoTowerModel, side: SideArrays, queries: int, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Return the vectors of the queries here, (queries, dim).

        Args:
            model: the towers.
            side: what the user tower reads.
            queries: number of queries.
            encode: encodes them.
        """

    @abstractmethod
    def item_vectors(
        self, model: TwoTowerModel, items: SideArrays, rows: NDArray[np.int64] | None
    ) -> ItemVectors:
        """Return the vectors of a step's items.

        Args:
            model: the towers.
            items: the items that are here.
            rows: int64 (n,) of the step's items among all; None for all.
        """

    @abstractmethod
    def loss(
        self,
        objective: Objective,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace,
        step: Step | None,
    ) -> PairLoss:
        """Return this part of a step's loss and of ``dV``, and the ``dU`` of the users here.

        Args: see `Objective`.
        """

    @abstractmethod
    def backward(
        self,
        model: TwoTowerModel,
        users: tuple[torch.Tensor, torch.Tensor],
        items: tuple[torch.Tensor, torch.Tensor],
        vectors: ItemVectors,
    ) -> None:
        """Give the weights the gradients of the whole step.

        Args:
            model: the towers.
            users: the users' vectors and their gradient.
            items: the vectors of all items, with columns that were added to them, and their gradient.
            vectors: the items' vectors.
        """


class WholeStep(StepPart):
    """All is here."""

    whole = True

    def n_items(self, own: int) -> int:
        """Return ``own``."""
        return own

    def sum(self, values: Numbers) -> Numbers:
        """Return the values."""
        return values

    def joined(self, values: Numbers) -> tuple[Numbers, int]:
        """Return the values."""
        return values, 0

    def user_vectors(
        self, model: TwoTowerModel, side: SideArrays, queries: int, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Encode the queries; see `StepPart`."""
        return encode()

    def item_vectors(
        self, model: TwoTowerModel, items: SideArrays, rows: NDArray[np.int64] | None
    ) -> ItemVectors:
        """Encode the items; see `StepPart`."""
        if rows is not None:
            items = items.take(torch.from_numpy(rows).to(items.warm.device))
        V = model.item_vectors(items)
        return ItemVectors(V, V)

    def loss(
        self,
        objective: Objective,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace,
        step: Step | None,
    ) -> PairLoss:
        """Return the loss and its gradients."""
        return objective.checked(U, V, pairs, workspace=workspace, step=step)

    def backward(
        self,
        model: TwoTowerModel,
        users: tuple[torch.Tensor, torch.Tensor],
        items: tuple[torch.Tensor, torch.Tensor],
        vectors: ItemVectors,
    ) -> None:
        """Propagate the gradients back; see `StepPart`."""
        torch.autograd.backward([users[0], items[0]], [users[1], items[1]])


WHOLE = WholeStep()
