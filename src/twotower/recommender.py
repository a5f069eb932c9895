"""`Recommender`: a trained model as it is used. Library, command line and batch jobs all go through it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from twotower.config import ObjectiveConfig
from twotower.data.asked import Id, Ids, as_lists, as_series
from twotower.data.dataset import Dataset, Frame, to_polars
from twotower.data.durations import durations
from twotower.data.item_lists import ItemLists, take_lists
from twotower.data.predictor import Predictor
from twotower.data.ranker import Queries, Ranker
from twotower.errors import ConfigError, DataError, TwoTowerWarning, yes_or_no
from twotower.features import Encoder
from twotower.features.positive import PositiveRule
from twotower.features.target import Target
from twotower.forking import check_process
from twotower.histories import Histories, Rows, Targets
from twotower.listing import Listing
from twotower.model import TwoTowerModel
from twotower.newcomers import Newcomers
from twotower.objectives import FoldIn, FoldInSettings, score_pairs
from twotower.retrieval import Index, TopK, exact_top_k
from twotower.scoring import Scoring
from twotower.side import Side, directions

if TYPE_CHECKING:
    from twotower.evaluation import Evaluation

USERS_AT_ONCE = 20_000
_SOMEONE_NEW = (
    " For someone new: give items (`recommend_from`; --item ID on the command line), or features "
    "(`encode_users`, then `top`)."
)
_NOT_FOR_LISTS = (
    "this model was trained to predict the label (objective {name!r}), not to rank, and its lists are often "
    "worse than the popular items; to recommend, train with objective.name = 'all_pairs', the default"
)


@dataclass(frozen=True)
class Recommender(Predictor, Ranker):
    """Encoder, towers, vectors and what each user has seen. Made by `TwoTower.fit` or `twotower.load`.

    Attributes:
        encoder: fitted on train.
        model: the towers.
        target: the way from scores to the label's units; None if the schema has no label.
        users: every user of the users table and of train.
        items: every item of the items table and of train: the catalogue.
        seen: the items of each user in train, as row pointers int64 (users + 1,) and item rows int32.
        display: one row an item, in the catalogue's order: id and display columns.
        item_duration: float64 (items,), nan where not known; None without a duration in the items table.
        history: records of the epochs.
        positive: which interactions count as positives.
        objective: what was minimised.
        least_squares: what folding in needs to know of the training.
        seen_label: float32, the label of each entry of ``seen``; None without labels.
        index: what `top` searches; None for every item, exactly.
        exclude_seen: whether users are not given what they have in train, where nothing else is said.
    """

    name = "two-tower"

    encoder: Encoder
    model: TwoTowerModel
    target: Target
    users: Side
    items: Side
    seen: ItemLists
    display: pl.DataFrame
    item_duration: NDArray[np.float64] | None
    history: list[dict[str, Any]]
    positive: PositiveRule
    objective: ObjectiveConfig
    least_squares: FoldInSettings
    seen_label: NDArray[np.float32] | None
    index: Index | None = None
    exclude_seen: bool = True

    @property
    def user_ids(self) -> pl.Series:
        """Ids of every user known, warm or cold."""
        return self.users.ids

    @property
    def item_ids(self) -> pl.Series:
        """Ids of the catalogue."""
        return self.items.ids

    def predict(self, data: Dataset) -> NDArray[np.float64]:
        """Return predictions float64 (n,), in the label's own units, for every interaction of ``data``.

        Users and items that this recommender does not know get their vector from their features in ``data``'s
        tables; one that is in no table gets the vector of "everything missing".
        """
        schema = self.encoder.schema
        user, U = self._with_new("users", data, data.interactions.get_column(schema.user))
        item, V = self._with_new("items", data, data.interactions.get_column(schema.item))
        scores = score_pairs(U, V, user, item)
        duration = durations(data) if self.target.transform.needs_duration else None
        return self.target.inverse(scores, duration)

    def score(self, pairs: Frame, *, strict: bool = False) -> pl.DataFrame:
        """Return the frame of (user, item) pairs with a column of what the model says of each.

        That is ``prediction``, in the label's own units, or ``score`` of a model that ranks. It is null for a
        pair whose user or item is not known, and a `TwoTowerWarning` says how many these are. Cold ones that
        have features are scored through `predict`.

        Args:
            pairs: with the id columns of the schema; other columns are kept.
            strict: whether a user or an item that is not known is an error.

        Raises:
            DataError: an id column is missing, or the column to be added is there already.
        """
        return self._scoring.table(to_polars(pairs), strict=strict)

    def recommend(
        self,
        users: Ids,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        allow: Ids | None = None,
        deny: Ids | None = None,
        strict: bool = False,
    ) -> pl.DataFrame:
        """Return the ``k`` items of highest score for each user, best first.

        What is cut short or left out is told by a `TwoTowerWarning`; so is, once, that a model was trained to
        predict and not to rank.

        Args:
            users: ids of known users; a bare string or number is one id.
            k: how many items each, 10 if left out. A user with fewer candidates gets fewer rows, and a k
                above the size of the catalogue is cut to it.
            exclude_seen: leave out the items that the user has in train; None for what the model was trained
                with.
            allow: ids of the only items that may be given; None for all. Ids not known are left out.
            deny: ids of items that may not be given.
            strict: whether an item of ``allow`` or ``deny`` that is not known is an error.

        Returns:
            Columns: user id, item id, ``rank`` (from 1), ``score`` (the label's transformed scale), display
                columns. One whose name is taken has ``user_`` (of the user id) or ``item_`` before it.

        Raises:
            ConfigError: k is not a whole number from 1; exclude_seen is not a bool.
            DataError: a user is not known; no allowed item is.
        """
        k = self._listing.length(k)
        row = self.users.known(users, "user", _SOMEONE_NEW)
        if not len(row):
            raise ConfigError("recommend needs at least one user, got none")
        return self._recommended(row, k, exclude_seen, self._listing.filters(allow, deny, strict=strict))

    def _recommended(
        self,
        row: Rows,
        k: int,
        exclude_seen: bool | None,
        filters: dict[str, Rows | None],
    ) -> pl.DataFrame:
        """Return the lists of users by row; see `recommend`."""
        self._tell_purpose()
        taken = take_lists(self.seen, row) if self._excludes_seen(exclude_seen) else None
        top = self.top(self.users.vectors[row], k, seen=taken, **filters)
        return self._listing.table(top, self.users.ids.gather(row).rename(self.encoder.schema.user))

    def recommend_from(
        self,
        lists: Id | Sequence[Ids],
        k: int | None = None,
        *,
        labels: Sequence[Sequence[float]] | None = None,
        exclude_seen: bool | None = None,
        allow: Ids | None = None,
        deny: Ids | None = None,
        strict: bool = False,
    ) -> pl.DataFrame:
        """Return the ``k`` items of highest score for users who are known by a list of items alone.

        Args:
            lists: item ids of each user; see `fold_in`.
            k: as for `recommend`.
            labels: as for `fold_in`.
            exclude_seen: leave out the items of a user's own list; else as for `recommend`.
            allow: as for `recommend`.
            deny: as for `recommend`.
            strict: as for `recommend`.

        Returns:
            As `recommend`, with ``list``, the place of the list from 0, for the user.
        """
        k = self._listing.length(k)
        own = as_lists(lists)
        vectors = self.histories.vectors(own, labels)
        self._tell_purpose()
        barred = None
        if self._excludes_seen(exclude_seen):
            rows = [self._listing.rows(items) for items in own]
            indptr = np.append(0, np.cumsum([len(row) for row in rows]))
            barred = (indptr.astype(np.int64), np.concatenate(rows).astype(np.int32))
        filters = self._listing.filters(allow, deny, strict=strict)
        top = self.top(vectors, k, seen=barred, **filters)
        return self._listing.table(top, pl.Series("list", np.arange(len(own), dtype=np.int64)))

    def top(
        self,
        vectors: NDArray[np.float32],
        k: int,
        *,
        seen: ItemLists | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
    ) -> TopK:
        """Return the ``k`` items of highest score for user vectors float32 (n, dim), as item rows.

        With an index they are those that it finds, and the scores are exact.

        Args:
            vectors: of users, from `fold_in`, `encode_users` or ``users.vectors``.
            k: at least 1.
            seen: item rows that each is not given.
            allow: item rows, or a mask, of all that may be given.
            deny: item rows, or a mask, of what may not.
        """
        check_process()
        if self.index is not None:
            return self.index.search(vectors, k, seen=seen, allow=allow, deny=deny)
        return exact_top_k(vectors, self.items.vectors, k, seen=seen, allow=allow, deny=deny)

    @cached_property
    def histories(self) -> Histories:
        """What the items of users say of them."""
        return Histories(
            self.users,
            self.items,
            self.seen,
            self.seen_label,
            self.item_duration,
            self.encoder.schema,
            self.target,
            self.positive,
            self.objective,
            self.model.config.n_members,
            self.least_squares,
        )

    @property
    def folding(self) -> FoldIn:
        """What solves for user vectors; made on first use."""
        return self.histories.folding

    def fold_in(
        self, lists: Id | Sequence[Ids], labels: Sequence[Sequence[float]] | None = None
    ) -> NDArray[np.float32]:
        """Return the vectors of users whom the model never saw, from their items, in closed form.

        Args:
            lists: item ids of each user; an empty list gets the typical user's vector. A bare id alone is one
                list of one; bare ids among lists are an error, since they could mean one user or several.
            labels: the label of each item; without them every item is taken for a positive.

        Returns:
            float32 (n, dim). See `twotower.objectives.FoldIn`.

        Raises:
            DataError: an item is not known; labels that are not as many, or not finite; labels for a model
                that was trained without.
        """
        return self.histories.vectors(as_lists(lists), labels)

    def targets(
        self, rows: Rows, labels: ArrayLike | None = None, duration: NDArray[np.float64] | None = None
    ) -> Targets:
        """Return what the scores of a user's items are drawn to; see `Histories.targets`."""
        return self.histories.targets(rows, labels, duration)

    def history_of(self, row: int) -> tuple[Rows, Targets]:
        """Return the item rows that a known user (by row) has in train, and their targets; see `targets`."""
        return self.histories.of(row)

    def explain(self, user: Any, items: Ids) -> pl.DataFrame:
        """Divide the scores of items for a known user among the items that the user has in train.

        ``score = base + sum of the contributions``, exactly; see `twotower.objectives.FoldIn.explain`.

        Returns:
            One row a pair of a scored item and an item of the user, the largest contributions of each scored
                item first: item id, ``because_`` item id, ``contribution``, ``base``, ``score``.

        Raises:
            DataError: the user or an item is not known, or there is not one user.
        """
        rows = self.users.known(user, "user")
        if len(rows) != 1:
            raise DataError(f"explain takes one user, got {len(rows)}; ask for each in turn")
        row = int(rows[0])
        past, targets = self.history_of(row)
        return self.histories.explained(self.users.vectors[row], past, targets, self._listing.rows(items))

    def explain_from(
        self,
        items: Ids,
        of: Ids,
        *,
        labels: Sequence[float] | None = None,
    ) -> pl.DataFrame:
        """Do as `explain` for a user who is known by a list of items alone; ``of`` are the scored items."""
        rows = self._listing.rows(as_series(items, "items"))
        targets = self.targets(rows, labels)
        vector = self.folding.vector(rows, targets)
        return self.histories.explained(vector, rows, targets, self._listing.rows(of))

    def encode_users(self, table: Frame) -> NDArray[np.float32]:
        """Return the vectors of new users, float32 (n, dim), from their features alone.

        Args:
            table: one row a user, with feature columns of the schema; one that is lacking is missing in every
                row.

        Raises:
            DataError: a column that is no feature, or a value that is not of its kind.
        """
        return self._newcomers.encode(to_polars(table), "users")

    def encode_items(self, table: Frame) -> NDArray[np.float32]:
        """Return the vectors of new items from their features, float32 (n, dim); see `encode_users`."""
        return self._newcomers.encode(to_polars(table), "items")

    def similar(self, items: Ids, k: int | None = None) -> pl.DataFrame:
        """Return the ``k`` items most like each item, most alike first.

        Alike is the cosine of the item vectors without their biases: what one sort of user thinks of two
        items, not how popular they are. Cold items are compared by what their features say.

        Args:
            items: ids of known items; a bare string or number is one id.
            k: how many items each, the item itself not among them, 10 if left out. A k above the number of
                other items is cut to it, with a `TwoTowerWarning`.

        Returns:
            Columns: item id, ``similar_`` item id, ``rank`` (from 1), ``score`` (the cosine), display columns
                of the similar item (one whose name is taken has ``item_`` before it).

        Raises:
            ConfigError: k is not a whole number from 1.
            DataError: an item is not known.
        """
        k = self._listing.length(k, others=True)
        item = self.encoder.schema.item
        row = self._listing.rows(items)
        if not len(row):
            raise ConfigError("similar needs at least one item, got none")
        unit = self.directions(self.items.vectors)
        itself = (np.arange(len(row) + 1), row.astype(np.int32))
        top = exact_top_k(unit[row], unit, k, seen=itself)
        asked = self.items.ids.gather(row).rename(item)
        return self._listing.table(top, asked, f"similar_{item}", "item_")

    def directions(self, items: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `similar` compares: item vectors (n, dim) without their biases, of length 1 or 0."""
        return directions(items, self.model.config.n_members)

    def rank(self, queries: Queries, k: int) -> NDArray[np.int32]:
        """Rank a catalogue for users, new ones by their features; see `Ranker.rank`."""
        user, U = self._with_new("users", queries.tables, queries.users)
        item, V = self._with_new("items", queries.tables, queries.items)
        return exact_top_k(U[user], V[item], k, seen=queries.barred).items

    def recommend_all(
        self,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        allow: Ids | None = None,
        deny: Ids | None = None,
        strict: bool = False,
    ) -> Iterator[pl.DataFrame]:
        """Yield what `recommend` gives to every known user, some thousand users at a time."""
        k, filters = self._listing.length(k), self._listing.filters(allow, deny, strict=strict)
        for start in range(0, len(self.users.ids), USERS_AT_ONCE):
            row = np.arange(start, min(start + USERS_AT_ONCE, len(self.users.ids)))
            yield self._recommended(row, k, exclude_seen, filters)

    def evaluate(
        self,
        test: Dataset,
        *,
        cap: float | None = None,
        ranking: bool = True,
        ks: Sequence[int] = (10, 20, 100),
        candidates: str = "all",
        exclude_seen: bool | None = None,
        resamples: int = 1000,
        seed: int = 0,
    ) -> Evaluation:
        """Measure the model on held-out interactions, with intervals and slices.

        A model of labels is measured by its predictions. Every model is measured by how it ranks the
        catalogue for each user with positives in ``test``, beside popularity. What is easily misread is told
        by a `TwoTowerWarning` and is in the evaluation's notes.

        Args:
            test: the held-out part.
            cap: also report rating metrics with labels and predictions capped here.
            ranking: whether to rank.
            ks: where ranked lists are cut off.
            candidates: what a user may be given: ``"all"``, ``"test_items"`` (items with interactions in
                ``test``) or ``"test_pairs"`` (those that the user has interactions with there).
            exclude_seen: whether users are not given what they have in train, so that such pairs of ``test``
                are not looked for either; None for what the model was trained with.
            resamples: bootstrap resamples of the users.
            seed: of the resampling.

        Raises:
            ConfigError: a setting is out of range; ranking switched off for a model that predicts no label.
            DataError: no positive in ``test`` could be given to its user, and there are no labels to predict.
        """
        from twotower.evaluation import evaluate_model  # noqa: PLC0415  (not needed to serve)

        check_process()
        found = evaluate_model(
            self,
            test,
            self.train_view(test),
            self.positive,
            rating=not self.objective.implicit,
            ranking=ranking,
            cap=cap,
            ks=ks,
            candidates=candidates,
            exclude_seen=self._excludes_seen(exclude_seen),
            least_grade=self.objective.least_grade,
            resamples=resamples,
            seed=seed,
        )
        for note in found.notes:
            warnings.warn(note, TwoTowerWarning, stacklevel=2)
        return found

    def _excludes_seen(self, asked: bool | None) -> bool:
        """Return whether users are not given what they have seen: as asked, or as in training."""
        return self.exclude_seen if asked is None else yes_or_no("exclude_seen", asked)

    def train_view(self, like: Dataset) -> Dataset:
        """Return the (user, item) pairs seen in train as a dataset with the tables of ``like``."""
        return like.with_interactions(self.histories.pairs())

    def save(self, directory: str | Path, **facts: Any) -> None:
        """Write the bundle, all that `load` needs; ``facts`` (metrics, ...) are kept in bundle.json."""
        from twotower.bundle import save_bundle  # noqa: PLC0415  (bundle knows this class)

        check_process()
        save_bundle(self, Path(directory), facts)

    @staticmethod
    def load(directory: str | Path, *, index: bool = True) -> Recommender:
        """Read a bundle, or that of a run, checking every hash; nothing in it is executed.

        Without ``index`` one that is in the bundle is left out, and every search is exact.
        """
        from twotower.bundle import bundle_in, load_bundle  # noqa: PLC0415

        return load_bundle(bundle_in(Path(directory).expanduser()), index=index)

    @cached_property
    def _listing(self) -> Listing:
        return Listing(self.items, self.encoder.schema.item, self.display)

    @property
    def purpose_note(self) -> str | None:
        """What to say to someone who asks a model for lists that was not trained to rank; None of others."""
        return None if self.objective.implicit else _NOT_FOR_LISTS.format(name=self.objective.name)

    def _tell_purpose(self) -> None:
        if self.purpose_note is not None and "purpose" not in self._told:
            self._told.add("purpose")
            warnings.warn(self.purpose_note, TwoTowerWarning, stacklevel=4)

    @cached_property
    def _told(self) -> set[str]:
        """What has been said once."""
        return set()

    @property
    def _scoring(self) -> Scoring:
        return Scoring(
            self.encoder.schema,
            self.users,
            self.items,
            self.target,
            self.item_duration,
            self.objective.implicit,
        )

    @property
    def _newcomers(self) -> Newcomers:
        return Newcomers(self.encoder, self.model, self.target)

    def _with_new(self, which: str, data: Dataset, ids: pl.Series) -> tuple[Rows, NDArray[np.float32]]:
        """Return the row of each id, and the vectors of the known ones followed by those of new ones."""
        side = self.users if which == "users" else self.items
        rows, extra = self._newcomers.place(which, side, data, ids)
        return rows, np.concatenate([side.vectors, extra])
