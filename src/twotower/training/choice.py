"""`Choice`: the settings that a trainer has chosen on the validation set, where they are "auto"."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Settings for every "auto" that validation decides.

    Attributes:
        dim: length of the vectors.
        regularisation: of the vectors.
        hard_weight: weight of hard negatives; 0 for none.
        why: what they were chosen by.
        popularity: exponent of an item's popularity that its scores are multiplied by; 0 for none.
    """

    dim: int
    regularisation: float
    hard_weight: float
    why: str
    popularity: float = 0.0

    def __str__(self) -> str:
        hard = f", hard negatives of weight {self.hard_weight:g}" if self.hard_weight else ""
        lean = f", popularity {self.popularity:g}" if self.popularity else ""
        return f"chose dim {self.dim}, regularisation {self.regularisation:.2g}{hard}{lean} ({self.why})"
