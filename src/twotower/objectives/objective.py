"""`Objective`: a pure function ``(U, V, pairs) -> (loss, dU, dV)``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config.bases import ObjectiveConfig, RankingConfig
from twotower.core.lists import Lists
from twotower.core.registry import reference
from twotower.core.reprs import shortened
from twotower.errors import TrainingError
from twotower.kernels.pairs import Pairs


class PairLoss(NamedTuple):
    """A loss and its gradients with respect to the vectors.

    Attributes:
        loss: the weighted mean over the pairs.
        dU: gradient, (n_users, dim), as ``U``; zero for a user without pairs.
        dV: gradient, (n_items, dim), as ``V``; zero for an item without pairs.
    """

    loss: float
    dU: torch.Tensor
    dV: torch.Tensor


class Workspace:
    """Memory that a training loop reuses in every step, to avoid repeated allocation.

    It keeps the largest array requested; one workspace serves one call at a time.
    """

    def __init__(self) -> None:
        self._flat = np.empty(0, dtype=np.float32)

    def take(self, *shape: int) -> NDArray[np.float32]:
        """Return an uninitialised array of ``shape``, which the next call will reuse."""
        size = int(np.prod(shape))
        if self._flat.size < size:
            self._flat = np.empty(size, dtype=np.float32)
        return self._flat[:size].reshape(shape)


@dataclass(frozen=True, eq=False)
class Step:
    """Information about a training step for objectives that use negatives.

    Attributes:
        positives: rows of ``V`` that each user of the step has in the training set, in this step's pairs or
            others; they are never negatives. None if the step's own pairs are all there are.
        log_q: (n_items,) float32, natural logarithm of the expected count of each row of ``V`` among the
            negatives; None if ``V`` always contains the whole catalogue.
        seed: random seed of the objective's draws.
    """

    positives: Lists | None = None
    log_q: NDArray[np.float32] | None = None
    seed: int = 0


@dataclass(frozen=True)
class CellWeight:
    """Weight of the target 0 of a cell of users x items, relative to a pair: ``weight * n ** power``.

    Attributes:
        weight: of a user with one pair.
        power: of the user's number of pairs n.
    """

    weight: float
    power: float = 0.0

    def of(self, counts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weight of the cells of users with some numbers of pairs, float32 (n_users,)."""
        weights: NDArray[np.float32] = (self.weight * counts.astype(np.float64) ** self.power).astype(
            np.float32
        )
        return weights


class Objective(ABC):
    """A loss of user and item vectors over pairs, independent of features, towers and optimisers.

    A subclass is a frozen dataclass. One of your own is given to `TwoTower` as an object; what its ``Config``
    does not have is taken from its fields. It ranks, unless its ``Config`` says that it predicts a label, as
    that of `PointwiseObjective` does.
    """

    Config: ClassVar[type[ObjectiveConfig]] = RankingConfig
    """Its settings, and what they say of it: whether it ranks, whether it is least squares, ..."""
    samples: ClassVar[bool] = False
    """Whether it uses negatives among the rows of ``V``, and therefore needs a `Step`."""
    whole: ClassVar[bool] = False
    """Whether every step needs all users and items of the training set, even those without pairs in it."""

    @classmethod
    def of(cls, config: Any, n_pairs: int, n_cells: int) -> Self:
        """Return the objective of a config; by default each field has the setting of its name.

        Args:
            config: settings, of type ``Config``.
            n_pairs: number of training pairs.
            n_cells: number of users times number of items.
        """
        return cls(**{field.name: getattr(config, field.name) for field in _fields(cls)})

    def settings(self) -> dict[str, Any]:
        """Return the fields, by name: the settings of an objective that was given as an object."""
        return {field.name: getattr(self, field.name) for field in _fields(type(self))}

    @abstractmethod
    def __call__(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace | None = None,
        step: Step | None = None,
    ) -> PairLoss:
        """Return the loss and its gradients.

        Args:
            U: (n_users, dim), a row for each user of ``pairs``.
            V: (n_items, dim), a row for each item of ``pairs``. Same type and device as ``U``. Neither is
                recorded by autograd: the caller propagates ``dU`` and ``dV`` back through the towers.
            pairs: the pairs, on the CPU whatever the device.
            workspace: memory reused between calls; without it each call allocates its own.
            step: for objectives that sample; the others ignore it.
        """

    def checked(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace | None = None,
        step: Step | None = None,
    ) -> PairLoss:
        """Return what `__call__` does, checked: training goes through it.

        Raises:
            TrainingError: it is not a `PairLoss` of a number and two gradients like ``U`` and ``V``.
        """
        found: Any = self(U, V, pairs, workspace=workspace, step=step)
        if isinstance(found, PairLoss) and _alike(found.dU, U) and _alike(found.dV, V):
            if type(found.loss) is float or (
                isinstance(found.loss, Real) and not isinstance(found.loss, bool)
            ):
                return found
            if isinstance(found.loss, torch.Tensor) and found.loss.numel() == 1:
                return found._replace(loss=float(found.loss))
        pair_loss = isinstance(found, PairLoss)
        got = f"PairLoss({', '.join(map(_form, found))})" if pair_loss else shortened(found)
        raise TrainingError(
            "an objective must return PairLoss(loss, dU, dV): a number, and tensors as U and V are, "
            f"{_form(U)} and {_form(V)}; {reference(type(self))} returned {got}"
        )

    def on(self, pairs: Pairs) -> Self:
        """Return the objective with what it takes from the training pairs. Called once before training."""
        return self

    def weight(self, pairs: Pairs) -> float | None:
        """Return the total weight of some users' pairs in the loss, if that is a weighted mean over pairs.

        The loss of a step is then the mean of the losses of parts of its users, by these weights, and each
        worker of a cluster computes that of its own. None, for any other loss: each computes all.
        """
        return None

    def terms(self) -> Sequence[Objective]:
        """Return the objectives that this one is the sum of, if each has a `weight`; else itself."""
        return (self,)

    def of_users(self, rows: slice) -> Self:
        """Return the objective for some of the users that `on` was given."""
        return self

    def cell_weight(self, counts: NDArray[np.int64], n_items: int) -> CellWeight | None:
        """Return the weight of the target 0 of every cell of users x items; None if there is no such target.

        Args:
            counts: (n_users,) training pairs of each user.
            n_items: number of items in the training set.
        """
        return None

    def check(self, pairs: Pairs) -> None:
        """Raise `DataError` if the labels are not valid for this objective. Called once before training.

        Any finite label is valid unless an objective overrides this.
        """
        return None


def _alike(given: object, vectors: torch.Tensor) -> bool:
    if not isinstance(given, torch.Tensor) or given.shape != vectors.shape:
        return False
    return given.dtype is vectors.dtype and given.device == vectors.device


def _form(value: object) -> str:
    return shortened(value) + (f" on {value.device}" if isinstance(value, torch.Tensor) else "")


def _fields(kind: type) -> tuple[Any, ...]:
    return fields(kind) if hasattr(kind, "__dataclass_fields__") else ()
