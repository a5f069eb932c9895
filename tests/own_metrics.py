"""Small metrics of one's own, one of each kind, for the contract and for evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np

from twotower.metrics import (
    Catalogue,
    CatalogueMetric,
    ListMetric,
    RankingMetric,
    RatedRows,
    RatingMetric,
    Sums,
    TopLists,
)


class Within(RatingMetric):
    """The share of rows whose error is at most a tolerance."""

    name = "within"
    meaning = "share of predictions that are off by at most the tolerance"
    higher_is_better = True
    cappable = True

    def __init__(self, tolerance: float = 0.5) -> None:
        self.tolerance = tolerance

    def sums(self, rows: RatedRows) -> dict[str, Any]:
        return {"near": rows.by_user(abs(rows.label - rows.prediction) <= self.tolerance)}

    def value(self, sums: Sums) -> Any:
        with np.errstate(invalid="ignore"):
            return sums["near"] / sums["rows"]


class WorstUser(RatingMetric):
    """The mean over users of their largest error."""

    name = "worst"
    meaning = "the largest error of a user, on average"
    higher_is_better = False
    unit = "label"

    def sums(self, rows: RatedRows) -> dict[str, Any]:
        worst = np.zeros(rows.n_users)
        np.maximum.at(worst, rows.user, abs(rows.label - rows.prediction))
        return {"worst": worst, "users": rows.by_user(np.ones(len(rows.user))) > 0}

    def value(self, sums: Sums) -> Any:
        with np.errstate(invalid="ignore"):
            return sums["worst"] / sums["users"]


class FirstHit(RankingMetric):
    """The place of the first hit; k + 1 without one."""

    name = "first_hit"
    title = "first hit"
    meaning = "the place of the first hit"
    undefined = "no relevant items: the user is not counted"
    higher_is_better = False
    unit = "places"

    def values(self, top: TopLists) -> Any:
        beyond = np.array(top.ks)[:, None] + 1
        return np.where(top.hits > 0, top.first, beyond)


class LastHit(RankingMetric):
    """The share of users whose longest list ends with a hit; measured once, without cut-offs."""

    name = "last_is_hit"
    meaning = "share of lists that end with a hit"
    undefined = "no relevant items: the user is not counted"
    higher_is_better = True
    cut = False

    def values(self, top: TopLists) -> Any:
        found = np.zeros(top.n_users)
        found[np.repeat(np.arange(top.n_users), np.diff(top.indptr))[top.rank == top.ks[-1]]] = 1.0
        return found


class MeanRow(ListMetric):
    """The mean row of the recommended items."""

    name = "mean_row"
    meaning = "mean row of the items"
    unit = "rows"

    def of_item(self, catalogue: Catalogue) -> Any:
        return np.arange(len(catalogue.ids))


class Loudest(CatalogueMetric):
    """The most lists that have one item."""

    name = "loudest"
    meaning = "how many lists the item has that is in most"
    unit = "lists"

    def value(self, exposures: Any, catalogue: Catalogue) -> float:
        return float(exposures.max())


OWN = (Within, WorstUser, FirstHit, LastHit, MeanRow, Loudest)
