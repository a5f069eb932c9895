"""`Baseline`: the interface of rating baselines, and the part of fitting that they share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from twotower.data.dataset import Dataset, TrainPart, check_train
from twotower.errors import ConfigError, DataError, TrainingError
from twotower.evaluation.predictor import Predictor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Rows to fit on or to choose settings on.

    Attributes:
        data: the data set they are from.
        label: (n,) the target: the label, capped if a cap is requested.
        weight: (n,) the sample weights, scaled to a mean of 1; all 1 without a weight column and on
            validation, since metrics are unweighted too.
    """

    data: Dataset
    label: FloatArray
    weight: FloatArray


class Baseline(Predictor):
    """A simple model to compare against, trained on the same target and rows."""

    given: ClassVar[str]
    """The inputs that it uses, in words."""
    quick: ClassVar[bool] = True
    """Whether it is fast enough for every report; a slow one is only in reports with all baselines."""

    def __init__(self) -> None:
        self._cap: float | None = None
        self._seed = 0
        self._fitted = False

    def fit(
        self,
        train: TrainPart,
        validation: Dataset | None = None,
        *,
        cap: float | None = None,
        seed: int = 0,
    ) -> Self:
        """Fit on a training set; a second call starts over.

        Args:
            train: rows to fit on, weighted by the schema's ``weight`` if it has one.
            validation: rows to choose settings on, unweighted; without them the default settings are used.
            cap: fit ``min(label, cap)``; predictions are then at most the cap. None for the label itself.
            seed: random seed of the fit.

        Returns:
            This model.

        Raises:
            TrainPartError: ``train`` is not marked as a training set.
            ConfigError: the schema has no label, or the cap is not finite.
            DataError: a set has no rows, or no training row has a weight above 0.
        """
        check_train(train, "a baseline")
        if cap is not None and not np.isfinite(cap):
            raise ConfigError(f"cap must be finite; got {cap}. Pass None to fit the label unchanged")
        self._fitted = False
        self._cap, self._seed = cap, seed
        self._fit(
            _examples(train, cap, "train", train.schema.weight),
            None if validation is None else _examples(validation, cap, "validation", None),
            seed,
        )
        self._fitted = True
        return self

    def refit(self, everything: TrainPart) -> Self:
        """Fit again on more rows, such as training and validation set together, with the chosen settings.

        The settings that `fit` chose on validation (strengths, epochs and learning rates), its cap and seed
        are kept.

        Args:
            everything: rows to fit on, weighted as in `fit`; the rows of ``fit`` are discarded.

        Returns:
            This model.

        Raises:
            TrainPartError, ConfigError, DataError: as in `fit`.
            TrainingError: the model is not fitted, so no settings are chosen.
        """
        check_train(everything, "a baseline")
        if not self._fitted:
            raise TrainingError(
                f"the baseline {self.name!r} can't be refitted before it is fitted; "
                "call fit(train, validation) first, or fit(everything) for the default settings"
            )
        examples = _examples(everything, self._cap, "train", everything.schema.weight)
        self._fitted = False
        self._refit(examples, self._seed)
        self._fitted = True
        return self

    def predict(self, data: Dataset) -> FloatArray:
        """Return a prediction (n,) for each row; see `Predictor.predict`.

        Raises:
            TrainingError: the model is not fitted.
        """
        if not self._fitted:
            raise TrainingError(
                f"the baseline {self.name!r} can't predict before it is fitted; call fit(train) first"
            )
        prediction = self._predict(data)
        return prediction if self._cap is None else np.minimum(prediction, self._cap)

    @abstractmethod
    def _fit(self, train: Examples, validation: Examples | None, seed: int) -> None:
        """Fit on ``train`` and choose settings on ``validation``."""

    @abstractmethod
    def _refit(self, everything: Examples, seed: int) -> None:
        """Fit on ``everything`` with the settings that `_fit` chose."""

    @abstractmethod
    def _predict(self, data: Dataset) -> FloatArray:
        """Return (n,) finite predictions of the target."""


def _examples(part: Dataset, cap: float | None, name: str, weights: str | None) -> Examples:
    schema = part.schema
    if schema.label is None:
        raise ConfigError(
            "a rating baseline needs labels and the schema has none; set schema.label to their column"
        )
    if not len(part):
        raise DataError(f"a baseline needs at least one row of {name}; got 0. Check the [split] settings")
    label = part.labels()
    if cap is not None:
        label = np.minimum(label, cap)
    if weights is None:
        return Examples(part, label, np.ones(len(label)))
    weight = part.weights()
    if not weight.any():
        raise DataError(
            f"at least one row of {name} must have a weight above 0; all are 0. Correct the column "
            f"{weights!r}"
        )
    return Examples(part, label, weight / weight.mean())
