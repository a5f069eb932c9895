"""`Predictor`: whatever predicts the label of an interaction, a trained model or a baseline."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from twotower.data.dataset import Dataset


class Predictor(ABC):
    """Predicts the label of every row of a dataset's interactions.

    Attributes:
        name: what tables and reports call it.
    """

    name: str

    @abstractmethod
    def predict(self, data: Dataset) -> NDArray[np.float64]:
        """Predict each row of ``data.interactions``, in their order and in the label's own units.

        Users and items never seen before get a prediction too, and the labels of ``data`` are not looked at.

        Returns:
            (n,), finite.
        """
