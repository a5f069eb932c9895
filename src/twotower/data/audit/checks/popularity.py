"""How unequally the interactions are spread over the items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import polars as pl

from twotower.data.audit.case import Case
from twotower.data.audit.check import Check
from twotower.data.audit.finding import Finding
from twotower.data.audit.statistics import gini

_FLOODED = 0.2
"""Share of all rows that one item may have."""
_LEAST = 100


class Popularity(Check):
    """Interactions that crowd on a few items: then recommending these to everyone looks good."""

    name: ClassVar[str] = "popularity"
    looks_for: ClassVar[str] = "popularity skew, and one item that floods the log"

    def run(self, case: Case) -> Iterator[Finding]:
        """Count train interactions by item."""
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
            f"the top 1% of {len(n):,} items have {n[:top].sum() / n.sum():.0%} of the train rows, the top "
            f"10% {n[: 10 * top].sum() / n.sum():.0%}; Gini {gini(n):.2f}"
        )
        if share > _FLOODED:
            yield self.warning(
                f"item {first!r}",
                "one item floods the log: is it a default, or a placeholder for a missing id?",
                f"it has {share:.0%} of the train rows; {evidence}",
                "drop its rows if they are no choice of the users",
            )
        elif gini(n) > 0.5:
            fix = "compare with the baseline of popularity, and look at coverage beside accuracy"
            yield self.note("train part, items", "a few items have most of the interactions", evidence, fix)
