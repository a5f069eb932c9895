"""Weights of graded pairs in objectives that sample negatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twotower.kernels.pairs import Pairs


def graded_weights(pairs: Pairs) -> NDArray[np.float64]:
    """Return the weight of each pair times the square of its label, float64 (n,).

    The label is a grade from 0 to 1. Its square parts what was liked from what was only seen: a pair of grade
    0.2 counts a 25th of a positive.
    """
    grades = pairs.label.astype(np.float64) ** 2
    return grades if pairs.weight is None else grades * pairs.weight
