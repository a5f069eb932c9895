"""`RankingTask`: held-out rows prepared once, to evaluate any number of rankers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset, Frame, Side, to_polars
from twotower.errors import DataError, nearest
from twotower.evaluation.own_metrics import MetricSet
from twotower.evaluation.pair_keys import IntArray, among, complement, distinct_keys, keys_of, within
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.metrics import Catalogue, CatalogueMetric, RankingMetric, TopLists, exposure_counts
from twotower.metrics.ranking import cut_offs
from twotower.metrics.ranking_lists import TopRows, checked_lists
from twotower.metrics.user_means import user_means

FloatArray = NDArray[np.float64]

Candidates = Dataset | Frame | pl.Series
"""Pairs of user and item, the only items ranked for each user; or items, the same for every user."""

_CELLS = 1 << 27  # users x items per call of a ranker: 0.5 GiB of float32 scores


@dataclass(frozen=True, eq=False)
class RankingValues:
    """The metrics of one ranker's lists.

    Attributes:
        users: metric -> (n_users,) a value a user, nan for one who is not counted; the metric is their mean.
        whole: metric -> value, for metrics of all lists together.
        parts: slice -> metric -> (n_users,), with only the slice's items as relevant.
    """

    users: Mapping[str, FloatArray]
    whole: Mapping[str, float]
    parts: Mapping[tuple[str, str], Mapping[str, FloatArray]] = field(default_factory=dict)

    @classmethod
    def averaged(cls, rankers: Sequence[RankingValues]) -> RankingValues:
        """Return the mean of several rankers' values, user by user, over the same task and slices."""
        first = rankers[0]
        return cls(
            {name: np.mean([of.users[name] for of in rankers], axis=0) for name in first.users},
            {name: float(np.mean([of.whole[name] for of in rankers])) for name in first.whole},
            {
                key: {name: np.mean([of.parts[key][name] for of in rankers], axis=0) for name in metrics}
                for key, metrics in first.parts.items()
            },
        )

    def means(self) -> dict[str, float]:
        """Return every metric over all users: name -> value."""
        return user_means(self.users) | dict(self.whole)


@dataclass(frozen=True, eq=False)
class RankingTask:
    """Users to rank for, the candidates and the relevant items. Made by `RankingTask.prepare`.

    Attributes:
        ks: where lists are cut off, ascending.
        users: ids (n_users,), ascending: the users with a relevant item.
        items: ids (n_items,), ascending: the catalogue.
        relevant: the relevant items of each user.
        positives: the held-out rows behind ``relevant``, in its order, with the users' and items' tables.
        seen: the items of each user in the training set, which are excluded; empty if they are not.
        allowed: the only items ranked for each user; None for everything but ``seen``.
        train_rows: (n_items,) training interactions of each item.
        n_train: number of training interactions, including items outside the catalogue.
        left_out: why held-out rows are not relevant, and how many: ``repeated`` (of a pair that is there
            already), ``not_candidates``, ``seen``.
    """

    ks: tuple[int, ...]
    users: pl.Series
    items: pl.Series
    relevant: Lists
    positives: Dataset
    seen: Lists
    allowed: Lists | None
    train_rows: IntArray
    n_train: int
    left_out: Mapping[str, int]

    @classmethod
    def prepare(
        cls,
        test_positives: Dataset,
        train: Dataset,
        *,
        ks: Sequence[int] = (10, 20, 100),
        candidates: Candidates | None = None,
        barred_seen: bool = True,
    ) -> RankingTask:
        """Find the users, the catalogue, the candidates and the relevant items of each user.

        Args:
            test_positives: held-out interactions, all of them positives. A pair of user and item counts once.
            train: all interactions that the models have seen.
            ks: where to cut the lists off.
            candidates: interactions or a frame of (user, item) pairs: the only items ranked for each
                user; or a series of item ids, the same for every user. Held-out pairs outside are not
                relevant, and the catalogue is then the items of these; else the items of train, of
                ``test_positives`` and of their items tables.
            barred_seen: exclude items that the user has in the training set; they don't count as relevant
                either.

        Raises:
            ConfigError: ``ks`` is empty or has a k below 1.
            DataError: no user has a relevant item; ids or columns that don't match the training set.
        """
        cuts = cut_offs(ks)
        ids: dict[Side, pl.Series] = {side: train.ids(side) for side in get_args(Side)}
        types = {str(side): of.dtype for side, of in ids.items()}
        rows = _pairs(test_positives, types).with_row_index("row")
        allowed = None
        if isinstance(candidates, pl.Series):
            only = candidates.alias("item").to_frame()
            items = _typed(only, types, "candidates").get_column("item").unique().sort()
        else:
            if candidates is not None:
                allowed = _candidate_pairs(candidates, test_positives, types)
            items = _catalogue(allowed, rows, ids["item"], (test_positives, train))
        users, catalogue = Vocabulary.distinct(rows.get_column("user")), Vocabulary(items)
        held = rows.unique(["user", "item"], keep="first")
        keys = keys_of(held, users, catalogue)
        order = np.argsort(keys)
        keys, row = keys[order], held.get_column("row").to_numpy()[order]
        candidate, allowed_keys = keys >= 0, None
        if allowed is not None:
            allowed_keys = distinct_keys(allowed, users, catalogue)
            candidate &= among(keys, allowed_keys)
        seen = _seen(train, users, catalogue) if barred_seen else Lists.empty(len(users))
        relevant = candidate & ~within(keys, seen, len(items))
        left_out = {
            "repeated": rows.height - held.height,
            "not_candidates": int((~candidate).sum()),
            "seen": int(candidate.sum() - relevant.sum()),
        }
        if not relevant.any():
            raise DataError(_no_relevant(rows.height, len(users), left_out))
        asked = np.flatnonzero(np.bincount(keys[relevant] // len(items)))

        def lists(of: IntArray) -> Lists:
            """Return the items of the users that are asked about, from sorted keys of all."""
            user, item = np.divmod(of, len(items))
            lengths = np.bincount(user, minlength=len(users))
            return Lists.from_lengths(lengths, item.astype(np.int32)).of(asked)

        counted = train.counts("item")
        return cls(
            ks=cuts,
            users=users.ids.gather(asked),
            items=items,
            relevant=lists(keys[relevant]),
            positives=test_positives.with_interactions(test_positives.interactions[row[relevant]]),
            seen=seen if len(asked) == len(users) else seen.of_many(asked),
            allowed=None
            if allowed_keys is None
            else lists(allowed_keys[~within(allowed_keys, seen, len(items))]),
            train_rows=Vocabulary(counted["id"]).take(counted["count"].to_numpy().astype(np.int64), items, 0),
            n_train=len(train),
            left_out=left_out,
        )

    @cached_property
    def context(self) -> pl.DataFrame | None:
        """The columns of ``[schema.context]`` of the first relevant row of each user, which is when it asks,
        (n_users,); None without any."""
        schema = self.positives.schema
        if not schema.context:
            return None
        times = np.zeros(len(self.positives)) if schema.timestamp is None else self.positives.times()
        order = np.lexsort((times, self.relevant.owners()))  # without a time last
        return self.positives.interactions.select(*schema.context)[order[self.relevant.indptr[:-1]]]

    def measure(self, ranker: Ranker, metrics: MetricSet | None = None) -> dict[str, float]:
        """Measure a ranker over all users, without intervals or slices: metric -> value."""
        return self.values(ranker, metrics=metrics).means()

    def values(
        self,
        ranker: Ranker,
        parts: Mapping[tuple[str, str], NDArray[np.bool_]] | None = None,
        metrics: MetricSet | None = None,
    ) -> RankingValues:
        """Measure a ranker for every user.

        Args:
            ranker: called with blocks of users, so that memory does not grow with their number.
            parts: slice -> (n_relevant,) which relevant items are in it; each has its own headline metrics
                (recall and NDCG), with the lists unchanged.
            metrics: what is measured; all registered metrics by default.

        Raises:
            DataError: the ranker returned invalid lists: a repeated item, an excluded item, or a wrong shape.
        """
        metrics = metrics or MetricSet.of(None, self.positives, rating=False, ranking=True)
        of_users, of_all = metrics.of_kind(RankingMetric), metrics.of_kind(CatalogueMetric)
        of_parts = [one for one in of_users if one.headline and one.of_relevant]
        catalogue = Catalogue(self.items, self.train_rows, self.n_train, self.positives)
        blocks: list[dict[str, FloatArray]] = []
        part_blocks: dict[tuple[str, str], list[dict[str, FloatArray]]] = {key: [] for key in parts or {}}
        exposures = np.zeros((len(self.ks), len(self.items)), dtype=np.int64)
        for start, queries in self.requests():
            lists = self._ask(ranker, queries, self.ks[-1])
            relevant = self.relevant.between(start, start + len(lists))
            top = TopLists.of(lists, relevant, self.ks, catalogue)
            blocks.append(_values(of_users, top))
            first, last = self.relevant.indptr[[start, start + len(lists)]]
            for key, where in (parts or {}).items():
                part_blocks[key].append(_values(of_parts, top.within(where[first:last])))
            for at, (above, cut) in enumerate(pairwise((0, *self.ks))):
                exposures[at] += exposure_counts(lists[:, above:], len(self.items), cut - above)
        exposures.cumsum(axis=0, out=exposures)  # each cut-off's own places, then all down to it
        whole = {
            name: one.measured(counts, catalogue)
            for one in of_all
            for name, counts in zip(one.names(self.ks), exposures, strict=True)
        }
        return RankingValues(_joined(blocks), whole, {key: _joined(of) for key, of in part_blocks.items()})

    def requests(self) -> Iterator[tuple[int, RankRequest]]:
        """Yield the users' queries block by block, each with the row of its first user."""
        # No ranker sees the held-out rows: it gets the tables of features, and what a request says.
        tables = self.positives.with_interactions(self.positives.interactions.clear())
        size = max(1, _CELLS // len(self.items))
        for start in range(0, len(self.users), size):
            stop = min(start + size, len(self.users))
            if self.allowed is None:
                barred = self.seen.between(start, stop)
            else:
                barred = complement(self.allowed.between(start, stop), len(self.items))
            context = None if self.context is None else self.context[start:stop]
            yield (
                start,
                RankRequest(self.users.slice(start, stop - start), self.items, barred, tables, context),
            )

    def _ask(self, ranker: Ranker, queries: RankRequest, k: int) -> TopRows:
        found = np.asarray(ranker.rank(queries, k))
        if found.shape != (len(queries.users), k):
            raise DataError(
                f"a ranker must return (n_users, k) item rows, ({len(queries.users)}, {k}); "
                f"{ranker.name!r} returned shape {found.shape}. Pad short lists with -1."
            )
        return checked_lists(f"the lists of {ranker.name!r}", found, len(self.items), queries.barred)


def _pairs(data: Dataset, types: Mapping[str, pl.DataType] | None = None) -> pl.DataFrame:
    """Return the columns ``user`` and ``item`` of the interactions, ids in the types of the training set."""
    schema = data.schema
    pairs = data.interactions.select(pl.col(schema.user).alias("user"), pl.col(schema.item).alias("item"))
    return pairs if types is None else _typed(pairs, types, "test_positives")


def _seen(train: Dataset, users: Vocabulary, catalogue: Vocabulary) -> Lists:
    """Return the distinct items of each user in the training set, as rows of the catalogue, ascending."""
    lengths, items = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
    for some, pairs in train.pairs_by_user(users.ids):
        user, item = np.divmod(distinct_keys(pairs, Vocabulary(some), catalogue), len(catalogue))
        lengths.append(np.bincount(user, minlength=len(some)))
        items.append(item.astype(np.int32))
    return Lists.from_lengths(np.concatenate(lengths), np.concatenate(items))


def _candidate_pairs(
    candidates: Dataset | Frame, test: Dataset, types: Mapping[str, pl.DataType]
) -> pl.DataFrame:
    if isinstance(candidates, Dataset):
        return _typed(_pairs(candidates), types, "candidates")
    frame = to_polars(candidates)
    columns = {"user": test.schema.user, "item": test.schema.item}
    for column in columns.values():
        if column not in frame.columns:
            raise DataError(
                f"candidates must have the columns {columns['user']!r} and {columns['item']!r}; got "
                f"{', '.join(frame.columns)}.{nearest(column, frame.columns)}"
            )
    pairs = frame.select(pl.col(column).alias(name) for name, column in columns.items())
    return _typed(pairs, types, "candidates")


def _typed(pairs: pl.DataFrame, types: Mapping[str, pl.DataType], source: str) -> pl.DataFrame:
    cast = pairs.with_columns(pl.col(name).cast(types[name], strict=False) for name in pairs.columns)
    for name in pairs.columns:
        lost = pairs.get_column(name).filter(cast.get_column(name).is_null())
        if len(lost):
            raise DataError(
                f"ids of {source} must have the type of the training set, {types[name]}; got the {name} "
                f"{lost[0]!r} of type {lost.dtype}. Convert the column first."
            )
    return cast


def _catalogue(
    allowed: pl.DataFrame | None, rows: pl.DataFrame, seen: pl.Series, parts: Sequence[Dataset]
) -> pl.Series:
    if allowed is not None:
        return allowed.get_column("item").unique().sort()
    ids = [rows.get_column("item"), seen]
    # An id of another type than train's can't be in train; Dataset.of makes them one type.
    ids += [
        part.items.get_column(part.schema.item).cast(seen.dtype, strict=False).drop_nulls() for part in parts
    ]
    return pl.concat([of.alias("item").unique() for of in ids]).unique().sort()


def _values(metrics: Sequence[RankingMetric], top: TopLists) -> dict[str, FloatArray]:
    return {name: of for metric in metrics for name, of in metric.measured(top).items()}


def _joined(blocks: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _no_relevant(rows: int, users: int, left_out: Mapping[str, int]) -> str:
    return (
        f"ranking needs at least one user with a relevant item; got {rows:,} held-out rows of {users:,} "
        f"users, of which {left_out['repeated']:,} repeat a pair, {left_out['not_candidates']:,} are not "
        f"candidates and {left_out['seen']:,} were seen in the training set. Check the split, or what counts "
        "as positive"
        + (
            "; evaluation.exclude_seen = false (exclude_seen=False) ranks seen items too."
            if left_out["seen"]
            else "."
        )
    )
