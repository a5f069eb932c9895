"""Content-based nearest neighbours: items that are described like those of the user.

An item is the vector of its categories, each with its inverse document frequency ln(N / n_c), where n_c
of the N items of the training set have category c (Sparck Jones, "A Statistical Interpretation of Term
Specificity and Its Application in Retrieval", 1972). A user's score of an item is the sum of the cosines
with those of the item's most similar training items that the user has, each times the grade. So items
without training rows are ranked like all others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack

from twotower.baselines.feedback import Feedback, blocks
from twotower.baselines.item_categories import NEEDED, category_columns, category_entries, chosen_column
from twotower.baselines.item_knn import ItemKNN
from twotower.baselines.order import rank_alike, top_mask, top_rows, values_at
from twotower.baselines.ranking import RankingBaseline, above_zero
from twotower.baselines.search import Ladder, Setting
from twotower.config.schema import Schema
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.evaluation.ranker import RankRequest


class ContentKNN(RankingBaseline):
    """Ranks by the similarity of an item's categories to those of the user's items; also items that are new.

    Attributes:
        column: column of the items table of kind ``category`` or ``categories``; None for the schema's first.
        neighbours: how many most similar training items of an item count, at least 1.
        power: exponent of the grades.
    """

    name = "content kNN"
    needs = NEEDED
    for_new_items = True

    def __init__(self, column: str | None = None, neighbours: int = 100, power: float = 1.0) -> None:
        super().__init__(power)
        above_zero(self.name, neighbours=neighbours)
        self.column, self.neighbours = column, neighbours

    def own_settings(self) -> dict[str, Setting]:
        """Return the column as given, and the neighbours."""
        return {"column": self.column, "neighbours": self.neighbours}

    @classmethod
    def ladders(cls, feedback: Feedback) -> Mapping[str, Ladder]:
        """Return the category columns, which are all tried, and the search range of the neighbours."""
        columns = tuple(category_columns(feedback.train.schema, cls.name))
        return {
            "column": Ladder(columns, ordered=False),
            "neighbours": ItemKNN.ladders(feedback)["neighbours"],
        }

    @classmethod
    def applies_to(cls, schema: Schema) -> bool:
        """Return whether the items have a category column."""
        return any(kind.meaning == "tags" for kind in schema.items.values())

    def _fit(self, feedback: Feedback, seed: int) -> None:
        del seed  # nothing random
        self._used = chosen_column(self.column, feedback.train.schema, self.name)
        _, of_entries = category_entries(feedback.train, self._used, feedback.items)
        counts = of_entries.value_counts(name="n").sort(of_entries.name)
        self._known = Vocabulary(counts.get_column(of_entries.name))
        self._rarity = np.log(len(feedback.items) / counts.get_column("n").to_numpy())  # (n_categories,)
        self._warm = self._vectors(feedback.train, feedback.items)  # (n_warm, n_categories)

    def _vectors(self, tables: Dataset, items: Vocabulary) -> csr_array:
        """Return the unit vectors (n_items, n_categories) of items; 0 for one without a known category."""
        places, categories = category_entries(tables, self._used, items)
        rows = self._known.rows(categories)
        known = rows >= 0
        shape = (len(items), len(self._rarity))
        vectors = csr_array((self._rarity[rows[known]], (places[known], rows[known])), shape=shape)
        norm = np.sqrt(np.asarray(vectors.power(2).sum(axis=1), dtype=np.float64))
        return csr_array(diags_array(1 / np.where(norm > 0, norm, 1.0)) @ vectors)

    def similarity(self, tables: Dataset, items: pl.Series) -> csr_array:
        """Return the cosines (n_items, n_warm) of items with their nearest training items, the others 0.

        An item is not its own neighbour.
        """
        assert self.feedback is not None  # checked by `rank`
        vectors, own = self._vectors(tables, Vocabulary(items)), self.feedback.items.rows(items)
        kept = []
        for rows in blocks(len(items), self._warm.shape[0]):
            cosine = (vectors[rows] @ self._warm.T).toarray()  # (block, n_warm)
            cosine[cosine <= 0] = -np.inf
            warm = np.flatnonzero(own[rows] >= 0)
            cosine[warm, own[rows][warm]] = -np.inf
            top = top_mask(cosine, self.neighbours)
            kept.append(csr_array((cosine[top], np.nonzero(top)), shape=cosine.shape))
        return csr_array(vstack(kept, format="csr")) if kept else csr_array((0, self._warm.shape[0]))

    def _rank(self, queries: RankRequest, k: int, feedback: Feedback) -> NDArray[np.int32]:
        users, items = feedback.users.rows(queries.users), feedback.items.rows(queries.items)
        found = np.full((len(users), k), -1, dtype=np.int32)
        warm, new = np.flatnonzero(users >= 0), np.flatnonzero(users < 0)
        if new.size:
            worth = values_at(feedback.popularity, items)
            found[new] = rank_alike(worth, queries.barred.of(new), new.size, k)
        if warm.size:
            similar = self.similarity(queries.tables, queries.items).T
        for rows in blocks(len(warm), len(items)):
            scores = (feedback.matrix[users[warm[rows]]] @ similar).toarray()  # (block, n_items)
            out = queries.barred.of(warm[rows])
            scores[out.owners(), out.values] = -np.inf
            found[warm[rows]] = top_rows(scores, k)
        return found
