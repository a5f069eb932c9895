"""Feature importance: the loss in the main metric when the values of a feature are shuffled among the rows.

A column is permuted among the users (or items), which keeps its distribution and removes its information;
nothing is trained again. The ids are a group of their own: their learned vectors are shuffled among the warm
rows. Features with the same information replace each other, so that each may look unimportant (Breiman
2001; Fisher, Rudin & Dominici, JMLR 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.core.vocabulary import rows_of_ids
from twotower.data.splitting import Parts
from twotower.evaluation import RankingValidator, RatingValidator
from twotower.evaluation.validator import some_users
from twotower.features import Bag, Block, Codes, Dense, EncodedSide
from twotower.metrics import Interval
from twotower.metrics.bootstrap import user_draws
from twotower.recommender import Recommender
from twotower.recommender.parts import EntityVectors
from twotower.recommender.read_histories import past_of
from twotower.towers import History, SideArrays, finished

Rows = NDArray[np.int64]

REPETITIONS = 5
MOST_USERS = 3_000
"""Most users of the test set that are measured."""
IDS = "id"
"""What the group of the ids is called."""


@dataclass(frozen=True)
class Worth:
    """One feature.

    Attributes:
        side: ``"users"`` or ``"items"``.
        column: of the table, or `IDS`.
        loss: by how much the main metric gets worse, mean of the repetitions, with its interval over users;
            below 0 if it gets better.
        moved: how far the vectors move, as a share of their spread; 0 of a feature that is not read.
    """

    side: str
    column: str
    loss: Interval
    moved: float

    @property
    def counts(self) -> bool:
        """Whether the loss is above 0 beyond the interval."""
        return self.loss.low > 0


@dataclass(frozen=True)
class Importance:
    """The importance of all features, the largest first.

    Attributes:
        metric: the metric.
        base: its value on the users that were measured, features as they are.
        users: how many they are.
        repetitions: how often each column was permuted.
        features: one for each, and for the ids of both sides.
    """

    metric: str
    base: float
    users: int
    repetitions: int
    features: tuple[Worth, ...]


def importance_of(
    recommender: Recommender,
    parts: Parts,
    metric: str,
    *,
    cap: float | None,
    candidates: str,
    resamples: int,
    seed: int,
    repetitions: int = REPETITIONS,
) -> Importance:
    """Permute each feature column and the ids in turn, and measure on the test set again.

    Args:
        recommender: the model, whose towers alone are measured; a row that its tables lack has every feature
            missing.
        parts: the test set, and the tables of features.
        metric: ``"ndcg@k"``, ``"rmse"`` or ``"rmse_capped"``.
        cap: of the labels and predictions, for the last.
        candidates: what a user may be given, for the first.
        resamples: of the users, behind each interval.
        seed: of the draws.
        repetitions: how often each column is permuted.
    """
    recommender = replace(recommender, ranker=None, diversity=None)
    test = some_users(parts.test, MOST_USERS, seed)
    name, cut, k = metric.partition("@")
    validator: RankingValidator | RatingValidator = (
        RankingValidator.of(
            test,
            recommender.train_view(test),
            recommender.positive,
            metric=name,
            k=int(k),
            candidates=candidates,
            exclude_seen=recommender.exclude_seen,
        )
        if cut
        else RatingValidator(test, cap if metric.endswith("_capped") else None)
    )
    base = validator.totals(recommender)
    draws = np.concatenate(list(user_draws(len(base), resamples, seed)))  # (resamples, n_users)
    features: list[Worth] = []
    for which in ("users", "items"):
        side: EntityVectors = getattr(recommender, which)
        encoded = _encoded(recommender, parts, which)
        unmoved = _vectors(recommender, encoded, which)
        spread = _spread(side.vectors)
        for column in (IDS, *encoded.blocks):
            generator = np.random.default_rng([seed, len(features)])
            sums, moved = np.zeros_like(base), 0.0
            for _ in range(repetitions):
                vectors = _vectors(recommender, _permuted(encoded, column, generator), which)
                sums += validator.totals(_moved(recommender, which, vectors))
                moved += float(np.sqrt(np.mean(np.square(vectors - unmoved), dtype=np.float64)))
            loss = validator.loss(base, sums / repetitions, draws)
            features.append(Worth(which, column, loss, moved / repetitions / spread if spread > 0 else 0.0))
    features.sort(key=lambda worth: -worth.loss.value)
    return Importance(metric, validator.value(base), len(base), repetitions, tuple(features))


def _moved(recommender: Recommender, which: str, vectors: NDArray[np.float32]) -> Recommender:
    """Return a recommender with other vectors of one side."""
    side = replace(getattr(recommender, which), vectors=vectors)
    return replace(recommender, catalogue=replace(recommender.catalogue, **{which: side}))


def _encoded(recommender: Recommender, parts: Parts, which: str) -> EncodedSide:
    """Encode the rows that the recommender knows, in its order, from the tables."""
    encoder = getattr(recommender.encoder, which)
    side: EntityVectors = getattr(recommender, which)
    table = getattr(parts.train, which)
    encoded: EncodedSide = encoder.transform(rows_of_ids(table, encoder.column, side.ids))
    return encoded


def _vectors(recommender: Recommender, side: EncodedSide, which: str) -> NDArray[np.float32]:
    """Return the vectors of what the recommender knows; users did what they did in the training set."""
    arrays = SideArrays.pack(side, next(recommender.model.parameters()).device)
    own = recommender.items.arrays
    if which == "users" and own is not None:
        arrays = replace(arrays, history=History.of(past_of(recommender.interactions), own))
    return finished(recommender.model.encode(arrays, which), which, recommender.target)


def _permuted(side: EncodedSide, column: str, generator: np.random.Generator) -> EncodedSide:
    """Shuffle the values of one column among all rows, or the ids among the warm ones."""
    if column != IDS:
        order = generator.permutation(side.rows)
        return replace(side, blocks={**side.blocks, column: _taken(side.blocks[column], order)})
    warm = side.warm.copy()
    warm[warm > 0] = generator.permutation(warm[warm > 0])
    return replace(side, warm=warm)


def _taken(block: Block, rows: Rows) -> Block:
    """Return the rows of a block in another order."""
    match block:
        case Dense(values):
            return Dense(values[rows])
        case Codes(codes, size):
            return Codes(codes[rows], size)
        case Bag(indptr, codes, size):
            return Bag(*Lists(indptr, codes).of(rows).arrays, size)


def _spread(vectors: NDArray[np.float32]) -> float:
    """Return the root mean square of vectors (n, dim) about their mean."""
    return float(np.sqrt(np.mean(vectors.var(axis=0, dtype=np.float64))))


def columns_of(importance: Importance, side: str) -> Iterator[Worth]:
    """Yield the feature columns of a side, without its ids."""
    return (worth for worth in importance.features if worth.side == side and worth.column != IDS)
