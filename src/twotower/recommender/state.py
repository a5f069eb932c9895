"""`RecommenderState`: what a trained model consists of, and the parts that its answers are made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.config import ObjectiveConfig
from twotower.config.diversity import DiversityConfig
from twotower.config.parts import first_that
from twotower.core.asked import Ids
from twotower.core.forking import check_process
from twotower.core.lists import Lists
from twotower.core.reprs import Facts, html_of, kinds_of, named, text_of
from twotower.core.warn import warn
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset
from twotower.data.grouped import GroupedData, GroupedEvents
from twotower.errors import yes_or_no
from twotower.features import Encoder
from twotower.ranking.second_stage import SecondStage
from twotower.recommender.catalogue_view import Allowed, CatalogueView
from twotower.recommender.display import ColumnFilters, Filters
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.folded_histories import FoldedHistories
from twotower.recommender.histories import Histories, Rows, Targets
from twotower.recommender.parts import Catalogue, EntityVectors, Interactions, Kinds, Training
from twotower.recommender.query_encoder import QueryEncoder
from twotower.recommender.read_histories import ReadHistories
from twotower.retrieval import Candidates, Index, exact_top_k
from twotower.retrieval.exact import turned
from twotower.retrieval.filters import Where, candidate_rows
from twotower.targets.positive import PositiveRule
from twotower.targets.target import Target
from twotower.towers import TwoTowerModel
from twotower.towers.fold_in import FoldIn, FoldInSettings

_FEW = 8
"""Users for whom a search is quicker if the items' tiles were turned before."""
_NOT_FOR_LISTS = (
    "this model was trained to predict the label (objective {name!r}), not to rank, and its lists are often "
    "worse than the popular items; to recommend, train with objective.name = '{ranker}', the default"
)


@dataclass(frozen=True, repr=False)
class RecommenderState:
    """The parts of a trained model.

    Attributes:
        towers: with what stands before and after them.
        catalogue: the users and items that it knows.
        interactions: the training set, user by user.
        training: what it was trained for, and how that went.
        index: what `search` uses; None to score every item, exactly.
        ranker: what ranks again what `search` finds; None for the order of the towers.
        diversity: rules for lists, unless a request has others; None for none.
    """

    towers: FittedTowers
    catalogue: Catalogue
    interactions: Interactions
    training: Training
    index: Index | None = None
    ranker: SecondStage | None = None
    diversity: DiversityConfig | None = None

    @property
    def encoder(self) -> Encoder:
        """What encodes columns as numbers, fitted on the training set."""
        return self.towers.encoder

    @property
    def model(self) -> TwoTowerModel:
        """The towers."""
        return self.towers.model

    @property
    def target(self) -> Target:
        """How scores become labels in their own units."""
        return self.towers.target

    @property
    def users(self) -> EntityVectors:
        """Every user of the users table and of the training set."""
        return self.catalogue.users

    @property
    def items(self) -> EntityVectors:
        """Every item of the items table and of the training set."""
        return self.catalogue.items

    @property
    def display(self) -> pl.DataFrame:
        """One row an item: id and display columns."""
        return self.catalogue.display

    @property
    def item_duration(self) -> NDArray[np.float64] | None:
        """Durations float64 (items,); see `Catalogue`."""
        return self.catalogue.item_duration

    @property
    def seen(self) -> Lists:
        """The item rows of each user in the training set."""
        return self.interactions.items

    @property
    def seen_label(self) -> NDArray[np.float32] | None:
        """The label of each entry of ``seen``."""
        return self.interactions.labels

    @property
    def positive(self) -> PositiveRule:
        """Which interactions count as positives."""
        return self.training.positive

    @property
    def objective(self) -> ObjectiveConfig:
        """What was minimised."""
        return self.training.objective

    @property
    def least_squares(self) -> FoldInSettings:
        """What folding in needs to know of the training."""
        return self.training.fold_in

    @property
    def history(self) -> list[dict[str, Any]]:
        """One record an epoch."""
        return self.training.epochs

    @property
    def kinds(self) -> Kinds | None:
        """What ``model.kind = "auto"`` chose among several kinds of towers; None without such a choice."""
        return self.training.kinds

    @property
    def exclude_seen(self) -> bool:
        """Whether lists leave out a user's items of the training set by default."""
        return self.training.exclude_seen

    @property
    def user_ids(self) -> pl.Series:
        """Ids of every user known, warm or cold."""
        return self.users.ids

    @property
    def item_ids(self) -> pl.Series:
        """Ids of the catalogue."""
        return self.items.ids

    def search(
        self,
        vectors: NDArray[np.float32],
        k: int,
        *,
        seen: Lists | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        where: Where | None = None,
    ) -> Candidates:
        """Return the ``k`` items of highest score for user vectors float32 (n, dim), as item rows.

        An index finds most of them, and their scores are exact.

        Args:
            vectors: of users, from `encode_queries` or ``users.vectors``.
            k: at least 1.
            seen: item rows that each user is not given.
            allow: item rows, or a mask, of all that may be given.
            deny: item rows, or a mask, of what may not.
            where: conditions on display columns, from ``column_filters.where``.
        """
        check_process()
        if self.index is not None:
            return self.index.search(vectors, k, seen=seen, allow=allow, deny=deny, where=where)
        if where is not None:
            allow, deny = where.among(candidate_rows(allow, deny, len(self.items))), None
        tiles = self._tiles if len(vectors) <= _FEW else None
        return exact_top_k(vectors, self.items.vectors, k, seen=seen, allow=allow, deny=deny, tiles=tiles)

    def directions(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `similar_items` and `similar_users` compare: vectors (n, dim) of items or users without
        their biases, of length 1 or 0.
        """
        latent = self.model.layout.directions(vectors)
        length = np.linalg.norm(latent, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (latent / np.where(length > 0, length, 1)).astype(np.float32)
        return unit

    @cached_property
    def histories(self) -> Histories:
        """The users' items, and what follows from them."""
        kind = ReadHistories if self.model.users.reads_history else FoldedHistories
        return kind(self.catalogue, self.interactions, self.training, self.towers)

    @property
    def folding(self) -> FoldIn:
        """What solves for user vectors; made on first use."""
        return self.histories.folding

    def targets(
        self, rows: Rows, labels: ArrayLike | None = None, duration: NDArray[np.float64] | None = None
    ) -> Targets:
        """Return what the scores of a user's items should be; see `Histories.targets`."""
        return self.histories.targets(rows, labels, duration)

    def history_of(self, row: int) -> tuple[Rows, Targets]:
        """Return a known user's (by row) item rows of the training set, and their targets; see `targets`."""
        return self.histories.of(row)

    def train_view(self, like: Dataset) -> Dataset:
        """Return the (user, item) pairs of the training set as a dataset with the tables of ``like``."""
        seen, labels = self.interactions.items, self.interactions.labels
        columns = {} if like.schema.label is None or labels is None else {"label": labels}
        events = GroupedEvents(self.users.ids, self.items.ids, seen.indptr, seen.values, columns)
        return GroupedData(events, like.users, like.items, like.schema, like.notes)

    @property
    def purpose_note(self) -> str | None:
        """What to tell who wants lists from a model that was not trained to rank; None for one that was."""
        return (
            None
            if self.objective.implicit
            else _NOT_FOR_LISTS.format(name=self.objective.name, ranker=first_that(predicts=False))
        )

    def _tell_purpose(self) -> None:
        if self.purpose_note is not None and "purpose" not in self._told:
            self._told.add("purpose")
            warn(self.purpose_note)

    @cached_property
    def _told(self) -> set[str]:
        """Warnings that are given once."""
        return set()

    def _excludes_seen(self, asked: bool | None) -> bool:
        """Return whether to leave out what users have seen: as asked, or as in training."""
        return self.exclude_seen if asked is None else yes_or_no("exclude_seen", asked)

    @cached_property
    def _items_view(self) -> CatalogueView:
        return CatalogueView(self.items, "item", self.encoder.schema.item, self.display)

    @cached_property
    def column_filters(self) -> ColumnFilters:
        """The display columns as filters look them up; made on first use."""
        return ColumnFilters(self.display.drop(self.encoder.schema.item))

    def _allowed(
        self, allow: Ids | None, deny: Ids | None, filters: Filters | None, strict: bool
    ) -> Allowed | None:
        """Return which items a search may give; None for all."""
        met = None if filters is None else self.column_filters.rows(filters)
        return self._items_view.allowed(allow, deny, met, strict=strict)

    @cached_property
    def _users_view(self) -> CatalogueView:
        column = self.encoder.schema.user
        return CatalogueView(self.users, "user", column, self.users.ids.rename(column).to_frame())

    @cached_property
    def item_counts(self) -> NDArray[np.int64]:
        """Interactions of each item in the training set, int64 (n_items,)."""
        return np.bincount(self.seen.values, minlength=len(self.items))

    @cached_property
    def item_directions(self) -> NDArray[np.float32]:
        """The `directions` of the items."""
        return self.directions(self.items.vectors)

    @cached_property
    def _tiles(self) -> NDArray[np.float32] | None:
        """The items' vectors as a search for one user reads them fastest."""
        return turned(self.items.vectors)

    @cached_property
    def _user_directions(self) -> NDArray[np.float32]:
        return self.directions(self.users.vectors)

    @cached_property
    def query_encoder(self) -> QueryEncoder:
        """What encodes queries and items that are asked about."""
        return QueryEncoder(self.histories)

    def __repr__(self) -> str:
        return text_of(*self._described())

    def _repr_html_(self) -> str:
        return html_of(*self._described())

    @property
    def kind_said(self) -> str:
        """The kind of towers; of several, each with the weight of its scores."""
        return self.model.config.kind if self.kinds is None else self.kinds.kept

    def _described(self) -> tuple[str, Facts]:
        schema, config = self.encoder.schema, self.model.config
        does = "ranks items" if self.objective.implicit else f"predicts {schema.label}"
        seconds = sum(record.get("seconds", 0.0) for record in self.history)
        refit = sum(record.get("phase") in ("refit", "continued") for record in self.history)
        then = f" and {refit:,} of the refit" if refit else ""
        epochs = f", {count_of(len(self.history) - refit, 'epoch')}{then} in {seconds:.1f} s"
        known = []
        for entities, what in ((self.users, "user"), (self.items, "item")):
            cold = int((~entities.warm).sum())
            known.append(
                count_of(len(entities), what) + (f" ({cold:,} without interactions)" if cold else "")
            )
        return f"Recommender that {does}", {
            "knows": " and ".join(known),
            "trained on": count_of(len(self.seen.values), "interaction") + epochs * bool(self.history),
            "vectors": f"{config.dim} numbers, {self.kind_said} towers, objective {self.objective.name}",
            "user features": kinds_of(schema.users),
            "item features": kinds_of(schema.items),
            **({"context": kinds_of(schema.context)} if schema.context else {}),
            "shown with items": named(self.display.columns[1:]),
            "search": "every item" if self.index is None else f"index {type(self.index).__name__}",
        }
