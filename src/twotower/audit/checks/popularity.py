"""How unevenly the interactions are spread over the items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.audit.statistics import gini

_FLOODED = 0.2
"""Maximum share of all rows that one item may have."""
_LEAST = 100


class Popularity(Check):
    """Interactions concentrated on a few items: recommending these to everyone then looks good."""

    name = "popularity"
    looks_for = "popularity skew, and one item that floods the log"

    def run(self, case: Case) -> Iterator[Finding]:
        """Count training interactions by item."""
        item = case.schema.item
        counts = (
            case.parts["train"]
            .interactions.group_by(item)
            .agg(pl.len().alias("n"))
            .sort("n", item, descending=[True, False])
        )
        n = counts["n"].to_numpy().astype(np.float64)
        if len(n) < _LEAST:
            return
        top = max(1, len(n) // 100)
        first, share = counts[item][0], n[0] / n.sum()
        evidence = (
            f"the top 1% of {len(n):,} items have {n[:top].sum() / n.sum():.0%} of the training rows, the "
            f"top 10% {n[: 10 * top].sum() / n.sum():.0%}; Gini {gini(n):.2f}"
        )
        if share > _FLOODED:
            yield self.warning(
                f"item {first!r}",
                "one item floods the log: is it a default, or a placeholder for a missing id?",
                f"it has {share:.0%} of the training rows; {evidence}",
                "drop its rows if users did not choose it",
            )
        elif gini(n) > 0.5:
            fix = "compare with the popularity baseline, and look at coverage as well as accuracy"
            yield self.note("training set, items", "a few items have most of the interactions", evidence, fix)
