"""Popularity: the same order for everybody, of items or of the categories that items are in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.baselines.baseline import FloatArray, IntArray, rows_of
from twotower.baselines.feedback import Feedback
from twotower.baselines.order import rank_alike, values_at
from twotower.baselines.ranking import RankingBaseline
from twotower.baselines.search import Ladder, Setting
from twotower.data.ranker import Queries
from twotower.errors import ConfigError, DataError, nearest
from twotower.schema import Kind, Schema

_KINDS = (Kind.CATEGORY, Kind.CATEGORIES)


class SharedOrder(RankingBaseline):
    """A baseline that ranks by one order for all users, known or not."""

    @abstractmethod
    def _worth(self, queries: Queries, feedback: Feedback) -> FloatArray:
        """Return what each item of the queries is ranked by, (n_items,)."""

    def _rank(self, queries: Queries, k: int, feedback: Feedback) -> NDArray[np.int32]:
        return rank_alike(self._worth(queries, feedback), queries.barred, len(queries.users), k)


class Popularity(SharedOrder):
    """Ranks by the number of distinct train users; with grades by the sum of the grades."""

    name = "popularity"

    def own_settings(self) -> dict[str, Setting]:
        """Return no settings: there are none."""
        return {}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return none."""
        del feedback
        return {}

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del feedback, seed  # counted when asked for, and nothing random

    def _worth(self, queries: Queries, feedback: Feedback) -> FloatArray:
        return values_at(feedback.popularity, rows_of(queries.items, feedback.items))


class CategoryPopularity(SharedOrder):
    """Ranks an item by how popular items of its categories are; what is known of a cold item without a model.

    A category is worth the mean popularity of the warm items in it, an item the mean worth of its categories,
    its own popularity not being looked at. An item without a category that train knows is worth the mean
    popularity of all warm items. Users make no difference, known or not. An item is as popular as
    `Popularity` says.

    Attributes:
        column: of the items table, of the kind ``category`` or ``categories``; None for the schema's first.
        worth: of each category, once fitted: columns ``category`` and ``worth``.
        mean: the mean popularity of the warm items, once fitted.
        power: exponent of the grades.
    """

    name = "category popularity"

    def __init__(self, column: str | None = None, power: float = 1.0) -> None:
        super().__init__(power)
        self.column = column

    def own_settings(self) -> dict[str, Setting]:
        """Return the column, as it was given."""
        return {"column": self.column}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the columns of categories, all of which are tried."""
        return {"column": Ladder(tuple(_columns(feedback.train.schema)), ordered=False)}

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Say whether the items have a column of categories."""
        return any(kind in _KINDS for kind in schema.items.values())

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        train = feedback.train
        self._used = _chosen(self.column, train.schema)
        popularity = feedback.popularity
        self.mean = float(popularity.mean())
        places, categories = _entries(train.items, train.schema.item, self._used, feedback.items)
        popularity_of = pl.Series(popularity[places], dtype=pl.Float64)
        entries = pl.DataFrame({"category": categories, "popularity": popularity_of})
        self.worth = (
            entries.group_by("category").agg(pl.col("popularity").mean().alias("worth")).sort("category")
        )

    def _worth(self, queries: Queries, feedback: Feedback) -> FloatArray:
        del feedback  # learnt from when fitted
        tables = queries.tables
        if self._used not in tables.items.columns:
            raise DataError(
                f"the items need the column {self._used!r}, which the baseline was fitted with; it is "
                "missing. Read them with the schema of the train part"
            )
        places, categories = _entries(tables.items, tables.schema.item, self._used, queries.items)
        category = rows_of(categories, self.worth.get_column("category"))
        known = category >= 0
        worth = self.worth.get_column("worth").to_numpy()[category[known]]
        count = np.bincount(places[known], minlength=len(queries.items))  # (n_items,)
        total = np.bincount(places[known], worth, minlength=len(queries.items))
        return np.where(count > 0, total / np.maximum(count, 1), self.mean)


def _columns(schema: Schema) -> list[str]:
    found = [name for name, kind in schema.items.items() if kind in _KINDS]
    if not found:
        raise ConfigError(
            "category popularity needs a column of the items of the kind category or categories, the schema "
            "has none; name one under [schema.items], or leave this baseline out"
        )
    return found


def _chosen(column: str | None, schema: Schema) -> str:
    columns = _columns(schema)
    if column is None:
        return columns[0]
    if column not in columns:
        raise ConfigError(
            f"the column of category popularity must be one of {', '.join(columns)}, got {column!r}."
            f"{nearest(column, columns)}"
        )
    return column


def _entries(table: pl.DataFrame, ids: str, column: str, wanted: pl.Series) -> tuple[IntArray, pl.Series]:
    """Return each entry's place in ``wanted`` (n,) and category (n,); an item has a category once."""
    places = rows_of(table.get_column(ids), wanted)
    entries = pl.DataFrame({"place": places, "category": table.get_column(column)})
    if isinstance(entries.schema["category"], pl.List):
        entries = entries.explode("category")
    entries = entries.filter(pl.col("place") >= 0).drop_nulls("category").unique(maintain_order=True)
    return entries.get_column("place").to_numpy(), entries.get_column("category")
