"""`FeatureGroup`: some features of candidates that are computed together."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from twotower.ranking.columns import Feature
from twotower.ranking.known import Batch, Known

F32 = NDArray[np.float32]
DAY = 86_400.0


class FeatureGroup(ABC):
    """Features that are computed together. A pair's values do not depend on the other queries of a batch, and
    not on anything at or after the time of its query."""

    @staticmethod
    @abstractmethod
    def features(known: Known) -> list[Feature]:
        """Return the features that there are of this model; none if the data lacks what they need."""

    @staticmethod
    @abstractmethod
    def fill(batch: Batch, out: F32) -> None:
        """Write the features float32 (n_pairs, n_features), nan where not known."""
