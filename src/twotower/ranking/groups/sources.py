"""sources: what each further source of candidates says of an item that it found."""

from __future__ import annotations

from twotower.ranking.columns import Feature
from twotower.ranking.groups.group import F32, FeatureGroup
from twotower.ranking.known import Batch, Known


class Sources(FeatureGroup):
    """Score and rank by each source; missing of what it did not find."""

    @staticmethod
    def features(known: Known) -> list[Feature]:
        """Return two features of each source; none without further sources."""
        return [
            Feature(f"{name}_{what}") for name in known.sources for what in ("source_score", "source_rank")
        ]

    @staticmethod
    def fill(batch: Batch, out: F32) -> None:
        """Write them."""
        if batch.offered is not None:
            out[:] = batch.offered
