"""Choose the width, the ridge and the part of popularity of `Ease` on the validation set.

The factors of a width begin with those of half of it, so all smaller widths are judged by one solution, and
larger ones are solved for only as long as they gain. On sparse data what an item-item matrix knows is of high
rank: each doubling up to 2,048 may gain a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from twotower.training.choice import Choice
from twotower.training.closed_form.choosing import GAIN, LEAST

T = TypeVar("T")

WIDTHS = (64, 128, 256, 512, 1024, 2048)
"""Widths to choose from."""
FIRST = 512
"""The width that is solved for first."""
SECONDS = 150.0
"""Widths above the first are considered that take less to solve for, estimated for one core."""
LEANS = (-0.15, -0.3)
"""Exponents of popularity to try, each as long as the one before is better."""
_MOST_MOVES = 8


def widths_for(n_pairs: int, n_items: int, most: int) -> list[int]:
    """Return the widths to choose from, ascending.

    Args:
        n_pairs: number of training pairs.
        n_items: number of warm items. With two more dimensions the matrix is whole, and more add nothing.
        most: the largest width.
    """
    most = min(most, n_items + 2)
    found = [width for width in WIDTHS if width < most]
    found = [width for width in found if width <= FIRST or seconds(n_pairs, n_items, width) <= SECONDS]
    if most <= FIRST or seconds(n_pairs, n_items, most) <= SECONDS:
        found.append(most)
    return found


def seconds(n_pairs: int, n_items: int, width: int) -> float:
    """Return an estimate of what the factors of a width take on one core."""
    return width * 16 * n_pairs / 1e9 + width**2 * 16 * n_items / 30e9


class Search(Generic[T]):
    """The search for the settings of one training set.

    Args:
        begin: makes what is to be measured for a width.
        measure: the validation metric of that at a regularisation and an exponent of popularity, with vectors
            cut to a width; higher is better.
        popularity: the exponent to start from.
    """

    def __init__(
        self,
        begin: Callable[[int], T],
        measure: Callable[[T, float, float, int], float],
        popularity: float = 0.0,
    ) -> None:
        self.begin, self._measure, self.popularity = begin, measure, popularity
        self.tried: dict[int, float] = {}  # width -> the best found

    def choose(self, widths: Sequence[int], regularisation: float, *, along: bool, lean: bool) -> Choice:
        """Choose settings.

        Args:
            widths: to choose from, ascending.
            regularisation: to start from.
            along: whether another one may be chosen.
            lean: whether another exponent of popularity may be.
        """
        dim = max((width for width in widths if width <= FIRST), default=widths[0])
        trainer = self.begin(dim)
        worth = self.measure(trainer, regularisation, dim)
        if along:
            worth, regularisation = self._along(trainer, dim, worth, regularisation)
        if lean:
            worth = self._leant(trainer, dim, worth, regularisation)
        narrower = [width for width in widths if width < dim]
        for wider in [width for width in widths if width > dim]:
            other = self.begin(wider)
            found, best = self.measure(other, regularisation, wider), regularisation
            if along and found > worth * (1 + GAIN / 2):
                found, best = self._along(other, wider, found, best)
            if found < worth * (1 + GAIN):
                break
            dim, worth, regularisation, narrower = wider, found, best, []
        for width in reversed(narrower):
            found = self.measure(trainer, regularisation, width)
            if found < worth:
                break
            dim, worth = width, found
        said = ", ".join(f"{width} {metric:.4f}" for width, metric in sorted(self.tried.items()))
        return Choice(dim, regularisation, 0.0, f"dims {said}", self.popularity)

    def measure(self, trainer: T, regularisation: float, dim: int) -> float:
        """Return the metric, and keep the best of a width."""
        found = self._measure(trainer, regularisation, self.popularity, dim)
        self.tried[dim] = max(found, self.tried.get(dim, 0.0))
        return found

    def _leant(self, trainer: T, dim: int, worth: float, regularisation: float) -> float:
        """Take the exponents of popularity in turn, as long as the metric rises; return the metric."""
        for exponent in LEANS:
            before, self.popularity = self.popularity, exponent
            found = self.measure(trainer, regularisation, dim)
            if found < worth * (1 + LEAST):
                self.popularity = before
                break
            worth = found
        return worth

    def _along(self, trainer: T, dim: int, worth: float, regularisation: float) -> tuple[float, float]:
        """Follow the regularisation by factors of 2 down, or else up, as long as the metric rises.

        Then take the vertex of a parabola through what is near the best one: the metric is flat there, and
        its noise alone would decide.

        Returns:
            The metric, and the regularisation.
        """
        found = {math.log2(regularisation): worth}

        def best() -> float:
            return max(found, key=lambda place: found[place])

        def look(place: float) -> None:
            if place not in found:
                found[place] = self.measure(trainer, 2.0**place, dim)

        for _ in range(_MOST_MOVES):
            before = best()
            look(before - 1.0)
            if best() == before:
                look(before + 1.0)
            if best() == before:
                break
        middle = best()
        for step in (-0.5, 0.5):
            look(middle + step)
        near = np.array(
            [
                (place - middle, of)
                for place, of in found.items()
                if abs(place - middle) <= 1.0 and of > -math.inf
            ]
        )
        bend, slope, _ = np.polyfit(near[:, 0], near[:, 1], 2)
        if bend < 0.0:
            middle += float(np.clip(-slope / (2.0 * bend), -1.0, 1.0))
        look(middle)
        return found[middle], 2.0**middle
