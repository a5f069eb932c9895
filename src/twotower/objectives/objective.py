"""What an objective is: a pure function ``(U, V, pairs) -> (loss, dU, dV)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.objectives.pairs import Pairs


class PairLoss(NamedTuple):
    """A loss and its gradients with respect to the vectors.

    Attributes
    ----------
    loss
        The weighted mean over the pairs.
    dU
        Gradient, (n_users, dim), as ``U``; zero for a user without pairs.
    dV
        Gradient, (n_items, dim), as ``V``; zero for an item without pairs.

    """

    loss: float
    dU: torch.Tensor
    dV: torch.Tensor


class Workspace:
    """Memory that a training loop lends to every step, so that no step allocates it anew.

    Holds what it was last asked for at most; one workspace serves one call at a time.
    """

    def __init__(self) -> None:
        self._flat = np.empty(0, dtype=np.float32)

    def take(self, *shape: int) -> NDArray[np.float32]:
        """Return an array of ``shape`` with undefined content, which the next call will reuse."""
        size = int(np.prod(shape))
        if self._flat.size < size:
            self._flat = np.empty(size, dtype=np.float32)
        return self._flat[:size].reshape(shape)


class Objective(ABC):
    """A loss of user and item vectors over pairs. It knows nothing of features, towers or optimisers."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(
        self, U: torch.Tensor, V: torch.Tensor, pairs: Pairs, *, workspace: Workspace | None = None
    ) -> PairLoss:
        """Return the loss and its gradients.

        Parameters
        ----------
        U
            (n_users, dim), a row for each user of ``pairs``.
        V
            (n_items, dim), a row for each item of ``pairs``. Same type and device as ``U``. Neither is
            recorded by autograd: the caller sends ``dU`` and ``dV`` back through the towers.
        pairs
            The pairs, on the CPU whatever the device.
        workspace
            Memory kept from call to call; without it each call allocates its own.

        """

    @abstractmethod
    def link(self, score: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn scores (n,) into predictions (n,) on the label's scale."""

    def check(self, pairs: Pairs) -> None:
        """Raise `DataError` if the labels are not of this objective's kind; for once before training.

        Any finite label is right unless an objective says otherwise.
        """
        return None
