"""``[diversity]``: rules for whole lists, applied after everything else."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from twotower.config.sections import Count, Section


class DiversityConfig(Section):
    """``[diversity]``: rules for whole lists, applied last; requests can set others.

    Lists stay full where there are candidates: a rule that can't be kept is given up, and the answer says so.
    Scores stay those of the items, so they no longer fall from place to place.
    """

    column: Annotated[str, Field(min_length=1)] | None = None
    """Column of ``schema.display`` (author, brand, genre) of which a list has each value a few times only."""
    at_most: Count | None = None
    """How many items of a list may have the same value in ``column``."""
    new_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Smallest share of new items: of the first n items of a list, this share of n, rounded down."""
    new_below: Count = 10
    """An item is new if it has fewer interactions than this in the training set."""
    relevance: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Weight of the score against likeness to the items already chosen (maximal marginal relevance). 1:
    likeness does not count."""
    candidates: Annotated[int, Field(ge=1, le=10_000)] = 500
    """How many items of highest score are chosen from."""

    @model_validator(mode="after")
    def _some_rule(self) -> Self:
        if (self.column is None) != (self.at_most is None):
            raise ValueError("column and at_most belong together: how many items may have the same value")
        if self.column is None and not self.new_share and self.relevance == 1.0:
            raise ValueError("[diversity] needs a rule: column and at_most, new_share, or relevance below 1")
        return self
