"""Choose width, regularisation and hard negatives of `LinearALS` on the validation set.

Each choice is made at the width that it is for: what is best at 64 dimensions is not best at 512.
Regularisation goes by factors of 1.5 from the solution before, which takes two epochs a step instead of a
whole fit; all of it together takes about as long as three fits of the width chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from twotower.towers import TwoTowerModel
from twotower.training.choice import Choice

WIDTHS = (64, 128, 256, 512)
"""Widths to choose from. The second is tried first, as most data need no more than one step from it."""
GAIN = 0.01
"""A width is chosen over half of it if the metric is higher by at least this share: it costs twice as much to
store and to search."""
LEAST = 0.002
"""Smallest share by which the metric must rise for another regularisation; for hard negatives twice that."""
STEP = 1.5
"""Factor between one regularisation and the next."""
MOST_STEPS = 6
FIRST_EPOCHS, MORE_EPOCHS, HARD_EPOCHS = 5, 2, 4
"""Epochs from a random start, after a step of the regularisation, and with hard negatives."""
HARD_WEIGHT = 0.1
"""Weight of a hard negative where they help; an interaction has weight 1."""
SPARSE = 300
"""Smallest number of cells per interaction at which hard negatives are tried: on dense data they hurt."""
SECONDS = 3.5
"""Widths are considered that take less per epoch, estimated for one core. So data of ten million interactions
are fitted at the smallest one, without a search."""


class Solving(Protocol):
    """What is asked of `LinearALS`."""

    hard_weight: float

    @property
    def model(self) -> TwoTowerModel:
        """The towers."""

    def run(self, number: int) -> None:
        """Run an epoch, counted from 1."""

    def set_regularisation(self, regularisation: float) -> None:
        """Change the regularisation, in the units of the objective's settings."""


def widths_for(n_pairs: int, n_rows: int, most: int) -> list[int]:
    """Return the widths to choose from, for some number of training pairs and of users and items."""
    pairs, rows = 40 * n_pairs / 15e9, 12 * n_rows / 100e9  # operations per dimension, at what a core does
    able = [width for width in WIDTHS if width < most and pairs * width + rows * width**2 <= SECONDS]
    if len(able) == len([width for width in WIDTHS if width < most]) and most <= WIDTHS[-1]:
        able.append(most)
    return able or [min(most, WIDTHS[0])]


@dataclass(frozen=True, eq=False)
class _Found:
    """A solution, and what it is worth on the validation set."""

    solving: Solving
    dim: int
    regularisation: float
    worth: float
    state: dict[str, torch.Tensor]


class Search:
    """The search for the settings of one training set.

    Args:
        start: makes a trainer of towers of some width, with some regularisation.
        worth: the validation metric of towers; higher is better.
    """

    def __init__(
        self, start: Callable[[int, float], Solving], worth: Callable[[TwoTowerModel], float]
    ) -> None:
        self.start, self.worth = start, worth
        self.tried: dict[int, float] = {}  # width -> the best found

    def choose(self, widths: Sequence[int], regularisation: float, *, along: bool, hard: bool) -> Choice:
        """Choose settings.

        Args:
            widths: to choose from, ascending.
            regularisation: to start from.
            along: whether another one may be chosen.
            hard: whether hard negatives may be.
        """
        at = min(1, len(widths) - 1)
        best = self._fitted(widths[at], regularisation)
        if along:
            best = self._along(best)
        first = best
        for wider in widths[at + 1 :]:
            found = self._fitted(wider, best.regularisation)
            if along and found.worth < best.worth * (1 + GAIN):  # more dimensions overfit sooner
                stronger = self._moved(found, STEP)
                found = max(found, stronger, key=lambda one: one.worth)
            if found.worth < best.worth * (1 + GAIN):
                break
            best = found
        if best is first and at:
            found = self._fitted(widths[0], best.regularisation)
            if best.worth < found.worth * (1 + GAIN):
                best = found
        if along and best is not first:
            best = self._along(best)
        harder = self._harder(best) if hard else 0.0
        weight = HARD_WEIGHT if harder > best.worth * (1 + 2 * LEAST) else 0.0
        said = ", ".join(f"{dim} {worth:.4f}" for dim, worth in sorted(self.tried.items()))
        why = f"dims {said}"
        if hard:
            why += f"; with hard negatives {harder:.4f}"
        return Choice(best.dim, best.regularisation, weight, why)

    def _fitted(self, dim: int, regularisation: float) -> _Found:
        solving = self.start(dim, regularisation)
        for number in range(1, FIRST_EPOCHS + 1):
            solving.run(number)
        return self._measured(_Found(solving, dim, regularisation, 0.0, {}))

    def _along(self, found: _Found) -> _Found:
        """Follow the regularisation down, or else up, as long as the metric rises."""
        best = found
        for factor in (1 / STEP, STEP):
            for _ in range(MOST_STEPS):
                moved = self._moved(best, factor)
                if moved.worth < best.worth * (1 + LEAST):
                    break
                best = moved
            if best is not found:
                break
        return best

    def _moved(self, found: _Found, factor: float) -> _Found:
        """Go on from a solution with the regularisation times a factor."""
        found.solving.model.load_state_dict(found.state)
        moved = replace(found, regularisation=found.regularisation * factor)
        found.solving.set_regularisation(moved.regularisation)
        for number in range(MORE_EPOCHS):
            found.solving.run(FIRST_EPOCHS + number)
        return self._measured(moved)

    def _harder(self, best: _Found) -> float:
        """Return the best metric of some epochs with hard negatives."""
        best.solving.model.load_state_dict(best.state)
        best.solving.set_regularisation(best.regularisation)
        best.solving.hard_weight, worth = HARD_WEIGHT, []
        for number in range(HARD_EPOCHS):
            best.solving.run(FIRST_EPOCHS + number)
            worth.append(self.worth(best.solving.model))
        return max(worth)

    def _measured(self, found: _Found) -> _Found:
        model = found.solving.model
        worth = self.worth(model)
        self.tried[found.dim] = max(worth, self.tried.get(found.dim, 0.0))
        state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return replace(found, worth=worth, state=state)
