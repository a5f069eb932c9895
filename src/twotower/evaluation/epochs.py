"""`EpochValidator`: measures the towers on the validation set after each epoch, to find the best one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset, TrainPart
from twotower.evaluation.beside import ByPopularity
from twotower.evaluation.own_metrics import MetricSet
from twotower.evaluation.ranker import VectorRanker
from twotower.evaluation.ranking_task import RankingTask
from twotower.evaluation.validator import NDCG, K, are_cold, some_users
from twotower.features import ContextEncoder
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs
from twotower.metrics import ranking
from twotower.objectives import Objective, Workspace
from twotower.targets.positive import PositiveRule
from twotower.targets.target import Target
from twotower.towers import SideArrays, TwoTowerModel, finished
from twotower.towers.encoded_table import EncodedTable

MEASURED = MetricSet((ranking.NDCG(), ranking.Recall()))
"""What is measured of lists after each epoch."""
VALIDATED_CELLS = 1 << 26
"""Maximum number of user-item pairs scored per epoch: about a third of a second of work."""
LEAST_USERS = 2_000
"""Minimum number of users to rank for, if there are that many, however large the catalogue."""

Tables = Mapping[str, EncodedTable]
"""The "users" and "items" of the training set, encoded."""


class EpochValidator(ABC):
    """Measures the towers on the validation set.

    Attributes:
        users: number of users that are ranked for; 0 where labels are predicted.
        by: the metric that decides which epoch is best.
        higher_is_better: whether higher values of it are better.
    """

    users: int = 0
    by: ClassVar[str]
    higher_is_better: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Return metrics, with names that start with ``validation_``, including ``by``."""


class RatingEpochs(EpochValidator):
    """Measures the objective's loss, and RMSE and MAE in the label's units.

    Rows are weighted as in training if the schema names a weight; weights that are all 0 are ignored. The
    labels of a capped model are capped.
    """

    by: ClassVar[str] = "validation_loss"

    def __init__(self, tables: Tables, target: Target, objective: Objective, validation: Dataset) -> None:
        schema = validation.schema
        assert schema.label is not None
        self.target, self.objective = target, objective
        self.sides, rows = {}, {}
        for which, known in tables.items():
            ids = validation.interactions.get_column(known.encoder.column)
            distinct = Vocabulary.distinct(ids)
            table = validation.users if which == "users" else validation.items
            self.sides[which] = known.take(distinct.ids, table)
            rows[which] = distinct.rows(ids)
        order = np.argsort(rows["users"], kind="stable")
        self.user, self.item = rows["users"][order], rows["items"][order]
        label = validation.interactions.get_column(schema.label).to_numpy()[order]
        duration = self.target.durations(validation)
        self.duration = None if duration is None else duration[order]
        self.label = self.target.learned(label, self.duration)
        self.weight = _weights(validation, order)
        values = self.target.forward(label, self.duration)
        self.pairs = Pairs.from_arrays(
            self.user, self.item, values, self.weight, n_users=self.sides["users"].rows
        )
        self.workspace = Workspace()

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Measure the model."""
        U, V = (model.encode(self.sides[which], which) for which in ("users", "items"))
        loss = self.objective.checked(U, V, self.pairs, workspace=self.workspace).loss
        scores = score_pairs(finished(U, "users", self.target), V.cpu().numpy(), self.user, self.item)
        error = self.target.inverse(scores, self.duration) - self.label
        return {
            "validation_loss": loss,
            "validation_rmse": float(np.sqrt(np.average(error * error, weights=self.weight))),
            "validation_mae": float(np.average(np.abs(error), weights=self.weight)),
        }


class RankingEpochs(EpochValidator):
    """Measures NDCG@100 over the whole catalogue, for users with positives in the validation set.

    The NDCG@100 of popularity is reported beside it; it is the same in every epoch.

    If users times items are many, a fixed random sample of the users is used. If no validation positive is an
    item with training interactions, only items without any are ranked; see `are_cold`.
    """

    by: ClassVar[str] = f"validation_{NDCG.name}"
    higher_is_better: ClassVar[bool] = NDCG.higher_is_better

    def __init__(
        self,
        tables: Tables,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
        seed: int,
        *,
        exclude_seen: bool = True,
        least_grade: float = 0.2,
        context: ContextEncoder | None = None,
    ) -> None:
        positives = rule.select(validation)
        most = max(LEAST_USERS, VALIDATED_CELLS // max(validation.items.height, 1))
        positives = some_users(positives, most, seed)
        cold = are_cold(positives, train)
        self.task = RankingTask.prepare(
            positives,
            train,
            ks=(20, K),
            candidates=positives.interactions.get_column(positives.schema.item).unique() if cold else None,
            barred_seen=exclude_seen,
        )
        self.users = len(self.task.users)
        popular = [
            self.task.measure(one, MEASURED)[NDCG.name] for one in ByPopularity.each(train, rule, least_grade)
        ]
        self.popularity = max(popular)
        self.sides = {
            "users": tables["users"].take(self.task.users, validation.users),
            "items": tables["items"].take(self.task.items, validation.items),
        }
        if context is not None and context.columns:
            users, asked = self.sides["users"], self.task.context
            assert asked is not None
            packed = SideArrays.pack(context.transform(asked), users.warm.device)
            self.sides["users"] = replace(users, context=packed)

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Measure the model."""
        U, V = (model.encode(self.sides[which], which).cpu().numpy() for which in ("users", "items"))
        measured = self.task.measure(VectorRanker(U, V, self.task.users), MEASURED)
        values = {f"validation_{name}": measured[name] for name in (NDCG.name, f"{ranking.Recall.name}@20")}
        return {**values, f"validation_popularity_{NDCG.name}": self.popularity}


def _weights(validation: Dataset, order: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the weights of the rows in an order; None if all rows count alike."""
    column = validation.schema.weight
    if column is None:
        return None
    weight = validation.interactions.get_column(column).cast(pl.Float64).to_numpy()[order]
    return weight if weight.any() else None
