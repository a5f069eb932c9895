"""``[ranker]``: the second stage, which ranks what the towers find."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from twotower.config.named import PartName
from twotower.config.sections import Count, Positive, Section, Share

IN_MEMORY: Final = (
    "[ranker] needs the training set in memory, and this one is on disk; set data.store = 'never', or leave "
    "[ranker] out"
)
"""The error of a ranker for a training set on disk."""


class RankerConfig(Section):
    """``[ranker]``: a second stage that ranks again what the towers find, by LightGBM's LambdaRank.

    Without the section there is none. It needs the extra ``ranker`` and an objective that ranks.
    """

    candidates: Annotated[int, Field(ge=2, le=10_000)] = 500
    """How many items of highest score by the towers are ranked again for a query. Later ones follow as the
    towers rank them."""
    grades: Literal["positives", "labels"] = "positives"
    """What the ranker learns. ``positives``: positives first. ``labels``: the higher the label, the further
    up: its rank from 0 to 1 among the training labels in five steps; with ``positive.duration_rank`` its rank
    among those of items of similar duration."""
    among: Literal["auto", "all", "observed"] = "auto"
    """What the ranker learns to rank for a query. ``all``: what the towers find in the catalogue.
    ``observed``: only the items that the user has interactions with, where these are all that could be given.
    ``auto``: ``observed`` with ``evaluation.candidates = "test_pairs"``."""
    order: Literal["auto", "time", "random"] = "auto"
    """How the examples of the ranker are held out from the towers, which must not have seen them. ``time``:
    the towers learn from what was before. ``random``: random rows of each user, cross-fitted. ``auto``:
    ``time`` if there are timestamps."""
    held_out: Share = 0.1
    """Share of the training set that a fold has as examples."""
    folds: Annotated[int, Field(ge=1, le=10)] = 2
    """Number of folds. For each the towers are trained once more, with the settings that were chosen."""
    sources: tuple[Annotated[str, PartName("twotower.ranking.sources.registry:SOURCES")], ...] = ()
    """Further sources of candidates, besides the towers. ``popular``: what is taken most. ``recent``: in the
    last 30 days. ``neighbours``: what the users of a query's items have besides. ``next``: what came next
    after them. ``similar``: items whose vectors are like those of the last items. Score and rank by each are
    features."""
    source_candidates: Count = 50
    """How many candidates each source gives, of the ``candidates`` in all; the towers fill up the rest."""
    trees: Count = 400
    """Maximum number of trees; early stopping on the validation set usually ends sooner."""
    leaves: Annotated[int, Field(ge=2, le=1024)] = 15
    """Leaves of a tree."""
    learning_rate: Positive = 0.05
    """What each tree is multiplied by."""
    min_rows: Count = 50
    """Smallest number of examples in a leaf."""
    patience: Count = 40
    """Trees without a better NDCG@10 on the validation set before training stops."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> Self:
        if self.folds * self.held_out > 0.8:
            raise ValueError(
                f"folds * held_out must be at most 0.8, got {self.folds} * {self.held_out:g}; the towers "
                "need rows to learn from"
            )
        return self

    @model_validator(mode="after")
    def _leaves_candidates_to_the_towers(self) -> Self:
        if repeated := sorted({name for name in self.sources if self.sources.count(name) > 1}):
            raise ValueError(f"sources must name each source once, got {', '.join(repeated)} again")
        default = type(self).model_fields["source_candidates"].default
        if not self.sources and self.source_candidates != default:
            raise ValueError(
                f"source_candidates must be left out without sources, got {self.source_candidates}; name "
                "sources, or remove it"
            )
        if self.sources and len(self.sources) * self.source_candidates >= self.candidates:
            raise ValueError(
                f"all sources together must give fewer than {self.candidates} candidates, got "
                f"{len(self.sources)} * {self.source_candidates}; lower source_candidates or raise candidates"
            )
        return self
