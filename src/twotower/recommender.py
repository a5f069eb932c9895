"""`Recommender`: a trained model as it is used. Library, command line and batch jobs all go through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.data.dataset import Dataset, Frame, to_polars
from twotower.data.durations import durations
from twotower.data.item_lists import ItemLists, take_lists
from twotower.data.predictor import Predictor
from twotower.data.ranker import Queries, Ranker
from twotower.errors import ConfigError, DataError, nearest
from twotower.features import Encoder
from twotower.features.positive import PositiveRule
from twotower.features.target import Target
from twotower.model import SideArrays, TwoTowerModel
from twotower.objectives import score_pairs
from twotower.retrieval import Index, exact_top_k

if TYPE_CHECKING:
    from twotower.evaluation import Evaluation

USERS_AT_ONCE = 20_000
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
PLAIN = (*_INTEGERS, pl.Float32, pl.Float64, pl.Boolean, pl.String)
"""Column types that JSON has words for."""


@dataclass(frozen=True)
class Side:
    """The users or the items that a recommender knows.

    Attributes:
        ids: their ids, one row each.
        vectors: float32 (rows, dim).
        warm: bool (rows,), whether the row has train interactions.
    """

    ids: pl.Series
    vectors: NDArray[np.float32]
    warm: NDArray[np.bool_]

    def rows(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return the row of each id, -1 where there is none."""
        known = self.ids.alias("id").to_frame().with_row_index("row")
        asked = ids.alias("id").cast(self.ids.dtype, strict=False)
        if ids.dtype.is_float():
            asked = asked.zip_with(
                asked.cast(ids.dtype, strict=False).eq_missing(ids), pl.Series([None], dtype=asked.dtype)
            )
        found = asked.to_frame().join(known, on="id", how="left", maintain_order="left").get_column("row")
        return found.cast(pl.Int64).fill_null(-1).to_numpy(writable=True)


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
        index: what `recommend` searches; None for every item, exactly.
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
    history: list[dict[str, Any]] = field(default_factory=list)
    positive: PositiveRule = field(default_factory=PositiveRule)
    index: Index | None = None

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
        user, extra_users = self._place(data, "users", data.interactions.get_column(schema.user))
        item, extra_items = self._place(data, "items", data.interactions.get_column(schema.item))
        scores = score_pairs(
            np.concatenate([self.users.vectors, extra_users]),
            np.concatenate([self.items.vectors, extra_items]),
            user,
            item,
        )
        duration = durations(data) if self.target.transform.needs_duration else None
        return self.target.inverse(scores, duration)

    def score(self, pairs: Frame) -> pl.DataFrame:
        """Return the frame of (user, item) pairs with a column ``prediction`` in the label's own units.

        Raises:
            DataError: an id column is missing, or a pair's user or item is not known (cold ones that have
                features are scored through `predict`).
        """
        frame = to_polars(pairs)
        schema = self.encoder.schema
        for column in (schema.user, schema.item):
            if column not in frame.columns:
                raise DataError(
                    f"pairs need a column {column!r}; got {', '.join(frame.columns)}."
                    f"{nearest(column, frame.columns)}"
                )
        user = self._known(frame.get_column(schema.user), self.users, "user")
        item = self._known(frame.get_column(schema.item), self.items, "item")
        duration = None
        if self.target.transform.needs_duration:
            if schema.duration is not None and schema.duration in frame.columns:
                duration = frame.get_column(schema.duration).cast(pl.Float64).fill_null(np.nan).to_numpy()
            elif self.item_duration is not None:
                duration = self.item_duration[item]
            else:
                raise DataError(f"pairs need the column {schema.duration!r}: the label was debiased by it")
        scores = score_pairs(self.users.vectors, self.items.vectors, user, item)
        return frame.with_columns(pl.Series("prediction", self.target.inverse(scores, duration)))

    def recommend(
        self, users: Sequence[Any] | pl.Series, k: int = 10, *, exclude_seen: bool = True
    ) -> pl.DataFrame:
        """Return the ``k`` items of highest score for each user, exactly, best first.

        Args:
            users: ids of known users.
            k: how many items each; a user with fewer candidates gets fewer rows.
            exclude_seen: leave out the items that the user has in train.

        Returns:
            Columns: user id, item id, ``rank`` (from 1), ``score`` (the label's transformed scale), display
                columns (one whose name is taken has ``item_`` before it).

        Raises:
            ConfigError: k is not between 1 and the size of the catalogue.
            DataError: a user is not known.
        """
        self._check_k(k, len(self.items.ids))
        schema = self.encoder.schema
        asked = users if isinstance(users, pl.Series) else pl.Series(list(users), strict=False)
        if not len(asked):
            raise ConfigError("recommend needs at least one user, got none")
        row = self._known(asked, self.users, "user")
        taken = take_lists(self.seen, row) if exclude_seen else None
        if self.index is not None:
            top = self.index.search(self.users.vectors[row], k, seen=taken)
        else:
            top = exact_top_k(self.users.vectors[row], self.items.vectors, k, seen=taken)
        found = top.items >= 0
        at, place = np.nonzero(found)
        item_rows = top.items[found]
        table = pl.DataFrame(
            {
                schema.user: self.users.ids.gather(row[at]),
                schema.item: self.items.ids.gather(item_rows),
                "rank": (place + 1).astype(np.int32),
                "score": top.scores[found],
            }
        )
        return self._shown(table, item_rows)

    def similar(self, items: Sequence[Any] | pl.Series, k: int = 10) -> pl.DataFrame:
        """Return the ``k`` items most like each item, most alike first.

        Alike is the cosine of the item vectors without their biases: what one sort of user thinks of two
        items, not how popular they are. Cold items are compared by what their features say.

        Args:
            items: ids of known items.
            k: how many items each, the item itself not among them.

        Returns:
            Columns: item id, ``similar_`` item id, ``rank`` (from 1), ``score`` (the cosine), display columns
                of the similar item (one whose name is taken has ``item_`` before it).

        Raises:
            ConfigError: k is not between 1 and the number of other items.
            DataError: an item is not known.
        """
        self._check_k(k, len(self.items.ids) - 1, "other ")
        item = self.encoder.schema.item
        asked = items if isinstance(items, pl.Series) else pl.Series(list(items), strict=False)
        if not len(asked):
            raise ConfigError("similar needs at least one item, got none")
        row = self._known(asked, self.items, "item")
        # each member's vector ends with 1 and the item's bias
        members = self.items.vectors.reshape(len(self.items.ids), self.model.config.n_members, -1)
        latent = members[:, :, :-2].reshape(len(members), -1)  # (items, dim - 2 members)
        length = np.linalg.norm(latent, axis=1, keepdims=True)
        unit = (latent / np.where(length > 0, length, 1)).astype(np.float32)
        itself = (np.arange(len(row) + 1), row.astype(np.int32))
        top = exact_top_k(unit[row], unit, k, seen=itself)
        at, place = np.nonzero(top.items >= 0)
        found = top.items[at, place]
        table = pl.DataFrame(
            {
                item: self.items.ids.gather(row[at]),
                f"similar_{item}": self.items.ids.gather(found),
                "rank": (place + 1).astype(np.int32),
                "score": top.scores[at, place],
            }
        )
        return self._shown(table, found)

    def rank(self, queries: Queries, k: int) -> NDArray[np.int32]:
        """Rank a catalogue for users, new ones by their features; see `Ranker.rank`."""
        user, extra_users = self._place(queries.tables, "users", queries.users)
        item, extra_items = self._place(queries.tables, "items", queries.items)
        U = np.concatenate([self.users.vectors, extra_users])[user]
        V = np.concatenate([self.items.vectors, extra_items])[item]
        return exact_top_k(U, V, k, seen=queries.barred).items

    def recommend_all(self, k: int = 10, *, exclude_seen: bool = True) -> Iterator[pl.DataFrame]:
        """Yield the recommendations of every known user, some thousand users at a time."""
        for start in range(0, len(self.users.ids), USERS_AT_ONCE):
            yield self.recommend(self.users.ids[start : start + USERS_AT_ONCE], k, exclude_seen=exclude_seen)

    def evaluate(
        self,
        test: Dataset,
        *,
        cap: float | None = None,
        ranking: bool = True,
        ks: Sequence[int] = (10, 20, 100),
        candidates: str = "all",
        resamples: int = 1000,
        seed: int = 0,
    ) -> Evaluation:
        """Measure the model on held-out interactions, with intervals and slices.

        A model of labels is measured by its predictions. Every model is measured by how it ranks the
        catalogue, without what a user has seen in train, for each user with positives in ``test``.

        Args:
            test: the held-out part.
            cap: also report rating metrics with labels and predictions capped here.
            ranking: whether to rank.
            ks: where ranked lists are cut off.
            candidates: what a user may be given: ``"all"``, ``"test_items"`` (items with interactions in
                ``test``) or ``"test_pairs"`` (those that the user has interactions with there).
            resamples: bootstrap resamples of the users.
            seed: of the resampling.

        Raises:
            ConfigError: a setting is out of range; ranking switched off for a model that predicts no label.
            DataError: no positive in ``test`` could be given to its user, and there are no labels to predict.
        """
        from twotower.evaluation import evaluate_model  # noqa: PLC0415  (not needed to serve)

        return evaluate_model(
            self,
            test,
            self.train_view(test),
            self.positive,
            rating=self.target.predicts,
            ranking=ranking,
            cap=cap,
            ks=ks,
            candidates=candidates,
            resamples=resamples,
            seed=seed,
        )

    def train_view(self, like: Dataset) -> Dataset:
        """Return the (user, item) pairs seen in train as a dataset with the tables of ``like``."""
        indptr, item = self.seen
        schema = self.encoder.schema
        user = np.repeat(np.arange(len(self.users.ids)), np.diff(indptr))
        pairs = pl.DataFrame(
            {schema.user: self.users.ids.gather(user), schema.item: self.items.ids.gather(item)}
        )
        return like.with_interactions(pairs)

    def save(self, directory: str | Path, **facts: Any) -> None:
        """Write the bundle, all that `load` needs; ``facts`` (metrics, ...) are kept in bundle.json."""
        from twotower.bundle import save_bundle  # noqa: PLC0415  (bundle knows this class)

        save_bundle(self, Path(directory), facts)

    @staticmethod
    def load(directory: str | Path, *, index: bool = True) -> Recommender:
        """Read a bundle, checking every hash; nothing in it is executed.

        Without ``index`` one that is in the bundle is left out, and every search is exact.
        """
        from twotower.bundle import load_bundle  # noqa: PLC0415

        return load_bundle(Path(directory), index=index)

    def _check_k(self, k: int, most: int, other: str = "") -> None:
        if not 1 <= k <= most:
            raise ConfigError(f"k must lie between 1 and the catalogue's {most:,} {other}items, got {k}")

    def _shown(self, table: pl.DataFrame, item_rows: NDArray[np.int32]) -> pl.DataFrame:
        """Put the display columns of the items beside a table."""
        shown = self.display.drop(self.encoder.schema.item)[item_rows]
        shown = shown.rename({name: f"item_{name}" for name in shown.columns if name in table.columns})
        return pl.concat([table, shown], how="horizontal")

    def _known(self, ids: pl.Series, side: Side, what: str) -> NDArray[np.int64]:
        rows = side.rows(ids)
        if (rows < 0).any():
            at = int(np.argmin(rows))
            raise DataError(
                f"{what} {ids[at]!r} is not known: no train interaction, no row in the {what}s table."
                f"{nearest(str(ids[at]), [str(i) for i in side.ids.head(10_000)])}"
            )
        return rows

    def _place(
        self, data: Dataset, which: str, ids: pl.Series
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return each id's row, and the vectors of the rows past the known ones, for ids not known."""
        side = self.users if which == "users" else self.items
        rows = side.rows(ids)
        none = np.zeros((0, self.model.dim), dtype=np.float32)
        if (rows >= 0).all():
            return rows, none
        new = ids.filter(pl.Series(rows < 0)).unique().sort()
        vectors = self._encode_new(data, which, new)
        rows[rows < 0] = len(side.ids) + new.search_sorted(ids.filter(pl.Series(rows < 0))).to_numpy()
        return rows, vectors

    def _encode_new(self, data: Dataset, which: str, new: pl.Series) -> NDArray[np.float32]:
        encoder = self.encoder.users if which == "users" else self.encoder.items
        table = data.users if which == "users" else data.items
        wanted = new.alias(encoder.column).to_frame()
        rows = wanted.join(
            table.with_columns(pl.col(encoder.column).cast(new.dtype)),
            on=encoder.column,
            how="left",
            maintain_order="left",
        )
        device = next(self.model.parameters()).device
        arrays = SideArrays.pack(encoder.transform(rows), device)
        with torch.no_grad():
            return finished(self.model.encode(arrays, which), which, self.target)


def plain(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with every column that JSON has no word for (dates, say) as text."""
    return table.with_columns(
        pl.Series(column.name, [None if v is None else str(v) for v in column.to_list()], dtype=pl.String)
        for column in table
        if not _is_plain(column.dtype)
    )


def _is_plain(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return _is_plain(dtype.inner)  # type: ignore[arg-type]
    return dtype in PLAIN


def finished(vectors: torch.Tensor, which: str, target: Target) -> NDArray[np.float32]:
    """Fold the label's mean and spread into vectors fresh from a tower: float32 (rows, dim) on the CPU."""
    done = vectors.detach().float().cpu().numpy().copy()
    if which == "users":
        done *= np.float32(target.sd)
        done[:, -2] += np.float32(target.mean)
    return done
