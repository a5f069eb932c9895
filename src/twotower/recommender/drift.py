"""`DriftReference`: what a model was trained on, and how far from it interactions since are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.recommender.state import RecommenderState

F64 = NDArray[np.float64]
GROUPS: Final = 10
"""Groups of labels, and of items by popularity."""


@dataclass(frozen=True, eq=False)
class DriftReference:
    """Groups of labels and of items that each have about a tenth of the training set.

    Attributes:
        model: the trained model.
    """

    model: RecommenderState

    @cached_property
    def edges(self) -> F64:
        """Upper ends of the groups of labels but the last, ascending and distinct; empty without labels."""
        labels = self.model.seen_label
        if labels is None or not len(labels):
            return np.empty(0)
        return np.unique(np.quantile(labels.astype(np.float64), np.arange(1, GROUPS) / GROUPS))

    @cached_property
    def label_shares(self) -> F64 | None:
        """Share of the training set in each group of labels; None without labels."""
        labels = self.model.seen_label
        return None if labels is None else _shares(self.label_counts(labels))

    @cached_property
    def group_of_item(self) -> NDArray[np.int64]:
        """The group of each item, the most popular ones in group 0; int64 (items,)."""
        counts = np.bincount(self.model.seen.values, minlength=len(self.model.items))
        order = np.argsort(-counts, kind="stable")
        before = np.cumsum(counts[order]) - counts[order]
        groups = np.empty(len(counts), np.int64)
        groups[order] = np.minimum(before * GROUPS // max(int(counts.sum()), 1), GROUPS - 1)
        return groups

    @cached_property
    def item_shares(self) -> F64:
        """Share of the training set in each group of items, and 0 for new items."""
        return _shares(self.item_counts(self.model.seen.values))

    def label_counts(self, labels: ArrayLike) -> F64:
        """Return how many labels are in each group; those that are nan are left out."""
        known = np.asarray(labels, dtype=np.float64)
        places = np.searchsorted(self.edges, known[np.isfinite(known)], side="left")
        return np.bincount(places, minlength=len(self.edges) + 1).astype(np.float64)

    def item_counts(self, rows: ArrayLike) -> F64:
        """Return how many items are in each group; rows of -1, and others that the model lacks, are new."""
        given = np.asarray(rows, dtype=np.int64)
        known = (given >= 0) & (given < len(self.group_of_item))
        groups = np.where(known, self.group_of_item[np.where(known, given, 0)], GROUPS)
        return np.bincount(groups, minlength=GROUPS + 1).astype(np.float64)

    def of(self, users: pl.Series, items: pl.Series, labels: ArrayLike | None) -> dict[str, Any]:
        """Return how far n interactions are from the training set.

        Args:
            users, items: ids (n,).
            labels: (n,), None without labels.

        Returns:
            ``label`` (without labels left out) and ``item_popularity``: `distance` of the shares in groups;
                ``new_users``: share of the interactions whose user the model does not know.
        """
        found: dict[str, Any] = {}
        if labels is not None and self.label_shares is not None:
            found["label"] = distance(self.label_counts(labels), self.label_shares)
        found["item_popularity"] = distance(self.item_counts(self.model.items.rows(items)), self.item_shares)
        found["new_users"] = float((self.model.users.rows(users) < 0).mean()) if len(users) else None
        return found


def distance(counts: F64, shares: F64) -> float | None:
    """Return the Jensen-Shannon distance of counts in groups from shares: 0 if they agree, 1 if they have no
    group in common. None without counts.

    Endres and Schindelin 2003, with logarithms to base 2.
    """
    if not counts.sum():
        return None
    p, q = _shares(counts), shares
    middle = (p + q) / 2
    found = 0.0
    for one in (p, q):
        some = one > 0
        found += 0.5 * float((one[some] * np.log2(one[some] / middle[some])).sum())
    return float(np.sqrt(max(found, 0.0)))


def drift_said(drift: Mapping[str, float | None]) -> str:
    """Return `DriftReference.of` in words."""
    return ", ".join(f"{name.replace('_', ' ')} {of:.2f}" for name, of in drift.items() if of is not None)


def _shares(counts: F64) -> F64:
    total: F64 = counts / max(float(counts.sum()), 1.0)
    return total
