"""Popularity of items or of their categories: the same ranking for all users."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.baselines.baseline import FloatArray
from twotower.baselines.feedback import Feedback
from twotower.baselines.item_categories import NEEDED, category_columns, category_entries, chosen_column
from twotower.baselines.order import rank_alike, values_at
from twotower.baselines.ranking import RankingBaseline
from twotower.baselines.search import Ladder, Setting
from twotower.config.schema import Schema
from twotower.core.vocabulary import Vocabulary
from twotower.evaluation.ranker import RankRequest


class SharedOrder(RankingBaseline):
    """A baseline with the same ranking for all users, known or unknown."""

    @abstractmethod
    def _worth(self, queries: RankRequest, feedback: Feedback) -> FloatArray:
        """Return the score of each item of the queries, (n_items,)."""

    def _rank(self, queries: RankRequest, k: int, feedback: Feedback) -> NDArray[np.int32]:
        return rank_alike(self._worth(queries, feedback), queries.barred, len(queries.users), k)


class Popularity(SharedOrder):
    """Ranks by the number of distinct training users, or by the sum of the grades."""

    name = "popularity"
    featured = True

    def own_settings(self) -> dict[str, Setting]:
        """Return an empty dict: there are no settings."""
        return {}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return an empty dict."""
        del feedback
        return {}

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del feedback, seed  # counted on request; nothing random

    def _worth(self, queries: RankRequest, feedback: Feedback) -> FloatArray:
        return values_at(feedback.popularity, feedback.items.rows(queries.items))


class CategoryPopularity(SharedOrder):
    """Ranks an item by the popularity of its categories: the simplest baseline for cold items.

    A category's score is the mean popularity of its warm items, and an item's score is the mean of its
    categories' scores; the item's own popularity is ignored. An item without a known category gets the mean
    popularity of all warm items. The ranking is the same for all users. Popularity is defined as in
    `Popularity`.

    Attributes:
        column: column of the items table of kind ``category`` or ``categories``; None for the schema's first.
        worth: score of each category, after fitting: columns ``category`` and ``worth``.
        mean: the mean popularity of the warm items, after fitting.
        power: exponent of the grades.
    """

    name = "category popularity"
    needs = NEEDED
    for_new_items = True

    def __init__(self, column: str | None = None, power: float = 1.0) -> None:
        super().__init__(power)
        self.column = column

    def own_settings(self) -> dict[str, Setting]:
        """Return the column as given."""
        return {"column": self.column}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the category columns, which are all tried."""
        return {"column": Ladder(tuple(category_columns(feedback.train.schema, cls.name)), ordered=False)}

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Return whether the items have a category column."""
        return any(kind.meaning == "tags" for kind in schema.items.values())

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        train = feedback.train
        self._used = chosen_column(self.column, train.schema, self.name)
        popularity = feedback.popularity
        self.mean = float(popularity.mean())
        places, categories = category_entries(train, self._used, feedback.items)
        popularity_of = pl.Series(popularity[places], dtype=pl.Float64)
        entries = pl.DataFrame({"category": categories, "popularity": popularity_of})
        self.worth = (
            entries.group_by("category").agg(pl.col("popularity").mean().alias("worth")).sort("category")
        )

    def _worth(self, queries: RankRequest, feedback: Feedback) -> FloatArray:
        del feedback  # used during fitting
        places, categories = category_entries(queries.tables, self._used, Vocabulary(queries.items))
        category = Vocabulary(self.worth.get_column("category")).rows(categories)
        known = category >= 0
        worth = self.worth.get_column("worth").to_numpy()[category[known]]
        count = np.bincount(places[known], minlength=len(queries.items))  # (n_items,)
        total = np.bincount(places[known], worth, minlength=len(queries.items))
        return np.where(count > 0, total / np.maximum(count, 1), self.mean)
