"""`Predictor`: a model or a baseline that predicts the label of interactions."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.dataset import Dataset


class Predictor(ABC):
    """Predicts the label of every row of a dataset's interactions.

    Attributes:
        name: its name in tables and reports.
    """

    name: str

    @abstractmethod
    def predict(self, data: Dataset) -> NDArray[np.float64]:
        """Predict each row of ``data.interactions``, in order and in the units of the label.

        Users and items never seen before get a prediction too; the labels of ``data`` are not used.

        Returns:
            (n,), finite.
        """

    def learned(self, data: Dataset) -> NDArray[np.float64]:
        """Return the labels (n,) of ``data`` as the model learned them; override it for capped ones."""
        assert data.schema.label is not None
        return data.interactions.get_column(data.schema.label).cast(pl.Float64).to_numpy()
