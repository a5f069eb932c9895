"""Policies: with what probability a model that ranks would show each item to a user."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twotower.errors import ConfigError

F64 = NDArray[np.float64]


class Policy(Protocol):
    """Turns the scores of a user's candidates into the probabilities of showing each, one item at a time."""

    def probabilities(self, scores: F64) -> F64:
        """Return probabilities (n_users, n_items), whose rows sum to 1, or to 0 without any candidate.

        Args:
            scores: (n_users, n_items); -inf for what is no candidate.
        """
        ...

    def __str__(self) -> str:
        """Say in a few words what it does."""
        ...


@dataclass(frozen=True)
class ListPolicy:
    """Shows one item of the user's list of the ``k`` best, each with probability 1 / k; ties by lower row.

    This is how a list without randomness becomes a policy: its value is the mean reward of an item of the
    list, if a reward depends on the user and the item and not on the place or the other items.

    Raises:
        ConfigError: k is below 1.
    """

    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k must be at least 1, got {self.k}; 10 is a usual length of a list")

    def probabilities(self, scores: F64) -> F64:
        """See `Policy.probabilities`; a user with fewer candidates has a shorter list."""
        k = min(self.k, scores.shape[1])
        last = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]  # (n_users, 1), the k-th best score
        above, equal = scores > last, scores == last
        room = k - above.sum(axis=1, keepdims=True)
        chosen = (above | (equal & (np.cumsum(equal, axis=1) <= room))) & np.isfinite(scores)
        return np.asarray(chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1))

    def __str__(self) -> str:
        return f"one item of the list of {self.k}, each equally likely"


@dataclass(frozen=True)
class SoftmaxPolicy:
    """Shows one candidate, drawn by the softmax of the scores.

    Scores are divided by ``temperature`` times the standard deviation of the user's candidates, so that a
    temperature means the same for every model: near 0 the best item alone, large values everything alike.

    Raises:
        ConfigError: temperature is not a number above 0.
    """

    temperature: float

    def __post_init__(self) -> None:
        if not (0.0 < self.temperature < math.inf):
            raise ConfigError(f"temperature must be a number above 0, got {self.temperature}; try 0.3")

    def probabilities(self, scores: F64) -> F64:
        """See `Policy.probabilities`."""
        there = np.isfinite(scores)
        n = np.maximum(there.sum(axis=1, keepdims=True), 1)
        held = np.where(there, scores, 0.0)
        centred = np.where(there, held - held.sum(axis=1, keepdims=True) / n, 0.0)
        spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n)
        scaled = centred / (self.temperature * np.where(spread > 0.0, spread, 1.0))
        best = np.where(there, scaled, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
        powers = np.where(there, np.exp(scaled - np.where(np.isfinite(best), best, 0.0)), 0.0)
        total = powers.sum(axis=1, keepdims=True)
        return powers / np.where(total > 0.0, total, 1.0)

    def __str__(self) -> str:
        return f"one item, drawn by a softmax of temperature {self.temperature:g}"
