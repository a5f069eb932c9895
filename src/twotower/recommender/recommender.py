"""`Recommender`: a trained model as it is used. Library, command line and batch jobs all go through it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Id, Ids, as_lists
from twotower.core.forking import check_process
from twotower.core.warn import deprecated
from twotower.data.dataset import Dataset, Frame, to_polars
from twotower.errors import DataError, TwoTowerWarning, yes_or_no
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.kernels.scoring import score_pairs
from twotower.recommender.bundle import bundle_in, read_bundle, save_bundle
from twotower.recommender.candidate_lists import first_stage
from twotower.recommender.catalogue_view import Allowed
from twotower.recommender.display import Filters
from twotower.recommender.fitted_towers import Unknown
from twotower.recommender.list_stages import Diversity, found_for, ranked_request
from twotower.recommender.on_engine import OnEngine
from twotower.recommender.queries import Queries, Users
from twotower.recommender.query import Query
from twotower.recommender.query_encoder import EncodedQueries
from twotower.recommender.scoring import score_table
from twotower.recommender.similarity import VectorAnswers
from twotower.retrieval import Candidates
from twotower.retrieval.filters import Where
from twotower.training import history_chart, history_frame
from twotower.training.engine import Engine

if TYPE_CHECKING:
    from twotower.core.charts import Chart
    from twotower.evaluation import Evaluation
    from twotower.evaluation.own_metrics import OwnMetrics

USERS_AT_ONCE = 20_000


@dataclass(frozen=True, repr=False)
class Recommender(VectorAnswers, Predictor, Ranker):
    """A trained model: it recommends, scores, explains, evaluates and saves.

    Made by `TwoTower.fit` or `twotower.load`. Users and items are asked about by their ids; whoever and
    whatever the model doesn't know comes as a `Query` or as features.
    """

    name = "two-tower"

    def predict(self, data: Dataset) -> NDArray[np.float64]:
        """Return predictions float64 (n,), in the label's own units, for every interaction of ``data``.

        Users and items that the model doesn't know get their vector from their features in ``data``'s tables;
        one that is in no table gets the vector of "everything missing".
        """
        schema, events = self.encoder.schema, data.interactions
        user, U = self.query_encoder.placed("users", events.get_column(schema.user), data)
        item, V = self.query_encoder.placed("items", events.get_column(schema.item), data)
        scores = score_pairs(U, V, user, item)
        return self.target.inverse(scores, self.target.durations(data))

    def learned(self, data: Dataset) -> NDArray[np.float64]:
        """Return the labels float64 (n,) of ``data`` as the model has learned them, such as capped ones."""
        return self.target.learned(super().learned(data), self.target.durations(data))

    def score(self, pairs: Frame, *, strict: bool = False) -> pl.DataFrame:
        """Return the frame of (user, item) pairs with a column of the model's output for each.

        The column is ``prediction``, in the label's own units, or ``score`` for a model that ranks. It is
        null where the user or the item is not known, and a `TwoTowerWarning` says how many pairs these are.
        Cold ones that have features are scored by `predict`.

        Args:
            pairs: with the id columns of the schema; other columns are kept.
            strict: whether a user or an item that is not known is an error.

        Raises:
            DataError: an id column is missing, or the column to be added is there already.
        """
        ranks = self.objective.implicit
        return score_table(to_polars(pairs), self.towers, self.catalogue, ranks=ranks, strict=strict)

    def recommend(
        self,
        users: Users,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        allow: Ids | None = None,
        deny: Ids | None = None,
        filters: Filters | None = None,
        diversity: Diversity = None,
        strict: bool = False,
    ) -> pl.DataFrame:
        """Return the ``k`` items of highest score for each user, best first.

        A `TwoTowerWarning` says what is cut short or left out, and once that a model was trained to predict
        and not to rank.

        Args:
            users: ids of known users (a bare string or number is one id), a `Query`, a list of both, or
                `Queries`, many as columns.
            k: how many items each, 10 by default. A user with fewer candidates gets fewer rows; a k above the
                size of the catalogue is cut to it.
            exclude_seen: leave out the items that the user has in the training set or in the query; None for
                the model's default.
            allow: ids of the only items that may be given; None for all. Unknown ids are left out.
            deny: ids of items that may not be given.
            filters: conditions on display columns, all of which must be met: ``{"genre": "comedy"}``;
                ``{"genre": ["comedy", "drama"]}`` for one of several; ``{"year": {"min": 1990}}`` for a
                range.
            diversity: rules for each list, see ``[diversity]``; None for those of the model, False for none.
            strict: whether an unknown item in ``allow`` or ``deny`` is an error.

        Returns:
            Columns: user id, item id, ``rank`` (from 1), ``score`` (on the scale of the transformed label),
                display columns. For queries ``query``, their place from 0, stands first, and the user id
                follows only if a query has one. A column whose name is taken has ``user_`` or ``item_``
                before it.

        Raises:
            ConfigError: k is not a whole number from 1; exclude_seen is not a bool.
            DataError: a user or an item of a history is not known; no allowed item is.
        """
        k = self._items_view.length(k)
        asked, where = self._encoded(users), None
        if filters is not None and self.index is not None and self.index.waits:
            where, filters = self.column_filters.where(filters), None
        allowed = self._allowed(allow, deny, filters, strict)
        return self._recommended(asked, k, exclude_seen, allowed, diversity, where)

    def _recommended(
        self,
        asked: EncodedQueries,
        k: int,
        exclude_seen: bool | None,
        allowed: Allowed | None,
        diversity: Diversity,
        where: Where | None = None,
    ) -> pl.DataFrame:
        """Return the lists of encoded users; see `recommend`."""
        self._tell_purpose()
        seen = asked.seen if self._excludes_seen(exclude_seen) else None
        top = found_for(self, asked, k, seen, allowed, diversity, where)
        return self._items_view.table(top, asked.names)

    def recommend_all(
        self,
        k: int | None = None,
        *,
        exclude_seen: bool | None = None,
        allow: Ids | None = None,
        deny: Ids | None = None,
        filters: Filters | None = None,
        diversity: Diversity = None,
        strict: bool = False,
        engine: Engine | None = None,
    ) -> Iterator[pl.DataFrame]:
        """Yield what `recommend` gives for every known user, some thousand users at a time.

        With an ``engine``, such as `tt.Ray(workers=4)`, the blocks of users are worked on there.
        """
        self._tell_purpose()
        k, allowed = self._items_view.length(k), self._allowed(allow, deny, filters, strict)
        starts = range(0, len(self.users.ids), USERS_AT_ONCE)
        how = k, exclude_seen, allowed, diversity
        blocks = ((self.users.ids.slice(at, USERS_AT_ONCE), *how) for at in starts)
        if engine is None:
            yield from map(self._listed, blocks)
        else:
            with engine:
                yield from engine.map(Recommender._listed, self, blocks)

    def _listed(self, block: tuple[pl.Series, int, bool | None, Allowed | None, Diversity]) -> pl.DataFrame:
        return self._recommended(self._encoded(block[0]), *block[1:])

    def explain(self, user: Id | Query | Sequence[Id], items: Ids) -> pl.DataFrame:
        """Divide the scores of items for one user among the items that the user has.

        ``score = base + sum of the contributions``, exactly; see `twotower.towers.FoldIn.explain`. What the
        user has twice is one item, with the sum of what it contributes. If the user tower reads histories, a
        contribution is what the score loses without the item. The base is then the score without a history,
        if the tower is linear in it, or has besides what the items do together.

        Args:
            user: the id of a known user, or a `Query`.
            items: ids of the items whose scores are explained; one that is repeated counts once.

        Returns:
            One row for each pair of a scored item and an item of the user, the largest contributions of each
                scored item first: item id, ``because_`` item id, ``contribution``, ``base``, ``score``.

        Raises:
            DataError: the user or an item is not known, or there is not one user.
        """
        queries = Queries.of(user)
        if len(queries) != 1:
            raise DataError(f"explain takes one user, got {len(queries)}; ask for each in turn")
        asked = self.query_encoder.encode(queries)
        rows = self.items.distinct_rows(items, "item")
        return self.histories.explained(asked.vectors[0], asked.asked, rows)

    def encode_queries(self, users: Users) -> NDArray[np.float32]:
        """Return the vectors of those who ask, float32 (n, dim): known users by id, anyone by a `Query`.

        A history is folded in, in closed form (see `twotower.towers.FoldIn`), or read in one forward pass of
        all queries, if the user tower reads histories. It then has the user's training set too, in the order
        of time; what has no time comes last. Someone of whom nothing is known has the typical user's vector.

        Raises:
            DataError: a user or an item is not known; labels for a model that was trained without.
        """
        return self._encoded(users).vectors

    def encode_users(self, table: Frame) -> NDArray[np.float32]:
        """Deprecated: use `encode_queries` with `Queries.of(features=table)`."""
        deprecated("Recommender.encode_users", "encode_queries(tt.Queries.of(features=table))")
        return self.encode_queries(Queries.of(features=table))

    def encode_items(self, table: Frame) -> NDArray[np.float32]:
        """Return the vectors of new items, float32 (n, dim), from their features alone.

        Args:
            table: one row an item, with feature columns of the schema; a column left out is missing in every
                row, with a `TwoTowerWarning`; so are values that the model doesn't know.

        Raises:
            DataError: a column is not a feature, or a value not of its kind.
        """
        features, unknown = to_polars(table), Unknown()
        vectors = self.towers.encode(features, "items", unknown)
        self.towers.warn_gaps("items", [features.columns] * features.height, unknown)
        return vectors

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank a catalogue for users, new ones by their features; see `Ranker.rank`."""
        return ranked_request(self, queries, k)

    def evaluate(
        self,
        test: Dataset,
        *,
        cap: float | None = None,
        ranking: bool = True,
        metrics: OwnMetrics | None = None,
        ks: Sequence[int] = (10, 20, 100),
        candidates: str = "all",
        exclude_seen: bool | None = None,
        resamples: int = 1000,
        seed: int = 0,
        engine: Engine | None = None,
    ) -> Evaluation:
        """Measure the model on held-out interactions, with intervals and slices.

        A model of labels is measured by its predictions. Every model is measured by how it ranks the
        catalogue for each user with positives in ``test``, beside popularity. What is easily misread is
        said in a `TwoTowerWarning` and in the evaluation's notes.

        Args:
            test: the test set.
            cap: also report rating metrics with labels and predictions capped here.
            ranking: whether to rank.
            metrics: your own metrics: `Metric` objects or classes, in a list or by name; or name -> function
                of two lists with an entry per user, the recommended item ids (best first, as many as the
                longest of ``ks``) and the relevant ones, which returns one number per user (nan: the user is
                not counted). Its attribute ``higher_is_better`` says which direction is better, if either is.
            ks: where ranked lists are cut off.
            candidates: what a user may be given: ``"all"``, ``"test_items"`` (items with interactions in
                ``test``) or ``"test_pairs"`` (those that the user has interactions with there).
            exclude_seen: whether a user's items of the training set are left out of the lists, and then also
                of the positives in ``test``; None for the model's default.
            resamples: bootstrap resamples of the users.
            seed: of the resampling.
            engine: where to rank, such as ``tt.Ray(workers=4)``; None for this process.

        Raises:
            ConfigError: a setting is out of range; ranking switched off for a model that predicts no label.
            DataError: no positive in ``test`` could be given to its user, and there are no labels to predict.
        """
        from twotower.evaluation import evaluate_model  # noqa: PLC0415  (not needed to serve)

        check_process()
        with engine or nullcontext():
            found = evaluate_model(
                self if engine is None else OnEngine(self, engine),
                test,
                self.train_view(test),
                self.positive,
                rating=not self.objective.implicit,
                ranking=ranking,
                metrics=metrics,
                cap=cap,
                ks=ks,
                candidates=candidates,
                exclude_seen=self._excludes_seen(exclude_seen),
                least_grade=self.objective.least_grade,
                resamples=resamples,
                seed=seed,
                towers=first_stage(self),
            )
        for note in found.notes:
            warnings.warn(note, TwoTowerWarning, stacklevel=2)
        return found

    @property
    def training_history(self) -> pl.DataFrame:
        """One row per epoch of the training: losses, validation metrics, learning rate, seconds."""
        return history_frame(self.history)

    def plot_history(self) -> Chart:
        """Return a chart of the training: loss and validation metrics by epoch, the best epoch marked.

        Raises:
            MissingExtraError: the package that draws is not installed.
        """
        return history_chart(self.history)

    def save(self, directory: str | Path, *, user_vectors: bool | None = None, **facts: Any) -> None:
        """Write the bundle, all that `load` needs; ``facts`` (metrics, ...) are kept in bundle.json.

        Args:
            directory: of the bundle.
            user_vectors: whether it has the vectors of users. Without them it is smaller by four bytes a
                number, and `load` computes them from the users' histories: those of training where the user
                tower reads histories, else those of someone new with the same history. None: as the model
                was loaded, else true.
            facts: see above.

        Raises:
            ConfigError: vectors that are left out follow from users' features too.
            BundleError: as `twotower.recommender.bundle.save_bundle`.
        """
        check_process()
        kept = self.training.user_vectors if user_vectors is None else yes_or_no("user_vectors", user_vectors)
        saved = self if kept == self.training.user_vectors else self._with_vectors(kept)
        save_bundle(saved, Path(directory), facts)

    def _with_vectors(self, kept: bool) -> Self:
        return replace(self, training=replace(self.training, user_vectors=kept))

    @classmethod
    def load(cls, directory: str | Path, *, index: bool | str = True) -> Recommender:
        """Read a bundle, or that of a run, checking every hash; nothing in it is executed.

        Without ``index`` an index in the bundle is not used, and every search is exact. With an address, such
        as ``milvus://HOST/COLLECTION``, the vector database that the run was published to is asked.
        """
        return read_bundle(bundle_in(Path(directory).expanduser()), cls, index=index)[0]

    def top(self, vectors: NDArray[np.float32], k: int, **options: Any) -> Candidates:
        """Deprecated: use `search`."""
        deprecated("Recommender.top", "search")
        return self.search(vectors, k, **options)

    def similar(self, items: Ids, k: int | None = None) -> pl.DataFrame:
        """Deprecated: use `similar_items`."""
        deprecated("Recommender.similar", "similar_items")
        return self.similar_items(items, k)

    def recommend_from(
        self,
        lists: Id | Sequence[Ids],
        k: int | None = None,
        *,
        labels: Sequence[Sequence[float]] | None = None,
        **options: Any,
    ) -> pl.DataFrame:
        """Deprecated: use `recommend` with a `Query` for each list. The column ``query`` is ``list`` here."""
        deprecated("Recommender.recommend_from", "recommend(tt.Query(history=[...]))")
        return self.recommend(_histories(lists, labels), k, **options).rename({"query": "list"})

    def fold_in(
        self, lists: Id | Sequence[Ids], labels: Sequence[Sequence[float]] | None = None
    ) -> NDArray[np.float32]:
        """Deprecated: use `encode_queries` with a `Query` for each list."""
        deprecated("Recommender.fold_in", "encode_queries(tt.Query(history=[...]))")
        return self.encode_queries(_histories(lists, labels))

    def explain_from(self, items: Ids, of: Ids, *, labels: Sequence[float] | None = None) -> pl.DataFrame:
        """Deprecated: use `explain` with a `Query`."""
        deprecated("Recommender.explain_from", "explain(tt.Query(history=[...]), items)")
        return self.explain(Query(history=items, labels=labels), of)


def _histories(lists: Id | Sequence[Ids], labels: Sequence[Sequence[float]] | None) -> list[Query]:
    own = as_lists(lists)
    if labels is not None and len(labels) != len(own):
        raise DataError(f"there must be labels for each of the {len(own)} lists, got {len(labels)}")
    return [
        Query(history=items, labels=None if labels is None else labels[at]) for at, items in enumerate(own)
    ]
