"""The global mean: a baseline that ignores users and items."""

from __future__ import annotations

import numpy as np

from twotower.baselines.baseline import Baseline, Examples, FloatArray
from twotower.data.dataset import Dataset


class GlobalMean(Baseline):
    """Predicts the (weighted) mean of the training labels for every row."""

    name = "mean"
    given = "labels"

    def _fit(self, train: Examples, validation: Examples | None, seed: int) -> None:
        del validation  # nothing to choose
        self._refit(train, seed)

    def _refit(self, everything: Examples, seed: int) -> None:
        del seed  # nothing random
        self.mean = float(np.average(everything.label, weights=everything.weight))

    def _predict(self, data: Dataset) -> FloatArray:
        return np.full(len(data), self.mean)
