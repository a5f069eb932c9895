"""Validators: measure the model on the validation set after each epoch."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.estimator.setup import TrainingSetup
from twotower.evaluation import ByPopularity, RankingTask
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.features.encoder import SideEncoder
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs
from twotower.objectives import Workspace
from twotower.recommender.side import finished
from twotower.retrieval import exact_top_k
from twotower.targets.positive import PositiveRule
from twotower.towers import SideArrays, TwoTowerModel
from twotower.training import Validator

VALIDATED_CELLS = 1 << 26
"""Maximum number of user-item pairs scored per epoch: about a third of a second of work."""
LEAST_USERS = 2_000
"""Minimum number of users to rank for, if there are that many, however large the catalogue."""
_K = 100


class RatingValidator(Validator):
    """Measures the objective's loss, and RMSE and MAE in the label's units.

    Rows are weighted as in training if the schema names a weight; weights that are all 0 are ignored.
    """

    by: ClassVar[str] = "validation_loss"

    def __init__(self, setup: TrainingSetup, validation: Dataset, device: torch.device) -> None:
        schema = validation.schema
        assert schema.label is not None
        self.target, self.objective = setup.target, setup.objective
        self.label = validation.interactions.get_column(schema.label).to_numpy()
        self.duration = durations(validation) if self.target.transform.needs_duration else None
        self.sides, rows = {}, {}
        for which, side in (("users", setup.encoder.users), ("items", setup.encoder.items)):
            ids = validation.interactions.get_column(side.column)
            distinct = ids.unique().sort()
            table = validation.users if which == "users" else validation.items
            self.sides[which] = _packed(table, side, distinct, device)
            rows[which] = distinct.search_sorted(ids).to_numpy()
        order = np.argsort(rows["users"], kind="stable")
        self.user, self.item = rows["users"][order], rows["items"][order]
        self.label = self.label[order]
        if self.duration is not None:
            self.duration = self.duration[order]
        self.weight = _weights(validation, order)
        values = self.target.forward(self.label, self.duration)
        self.pairs = Pairs.from_arrays(
            self.user, self.item, values, self.weight, n_users=self.sides["users"].rows
        )
        # what the labels become under the transform and back: a capped model is validated on capped labels
        self.reachable = self.target.transform.inverse(
            self.target.transform.forward(self.label, self.duration), self.duration
        )
        self.workspace = Workspace()

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Measure the model."""
        U, V = (model.encode(self.sides[which], which) for which in ("users", "items"))
        loss = self.objective(U, V, self.pairs, workspace=self.workspace).loss
        scores = score_pairs(finished(U, "users", self.target), V.cpu().numpy(), self.user, self.item)
        error = self.target.inverse(scores, self.duration) - self.reachable
        return {
            "validation_loss": loss,
            "validation_rmse": float(np.sqrt(np.average(error * error, weights=self.weight))),
            "validation_mae": float(np.average(np.abs(error), weights=self.weight)),
        }


def _weights(validation: Dataset, order: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return the weights of the rows in an order; None if all rows count alike."""
    column = validation.schema.weight
    if column is None:
        return None
    weight = validation.interactions.get_column(column).cast(pl.Float64).to_numpy()[order]
    return weight if weight.any() else None


class RankingValidator(Validator):
    """Measures NDCG@100 over the whole catalogue, for users with positives in the validation set.

    The NDCG@100 of popularity is reported beside it; it is the same in every epoch.

    If users times items are many, a fixed random sample of the users is used. If no validation positive is an
    item with training interactions, only items without any are ranked: they come after all others, so their
    places in the whole catalogue would say nothing.
    """

    by: ClassVar[str] = "validation_ndcg@100"
    higher_is_better: ClassVar[bool] = True

    def __init__(
        self,
        setup: TrainingSetup,
        train: TrainPart,
        validation: Dataset,
        rule: PositiveRule,
        device: torch.device,
        seed: int,
        *,
        exclude_seen: bool = True,
        least_grade: float = 0.2,
    ) -> None:
        positives = rule.select(validation)
        users = positives.interactions.get_column(positives.schema.user).unique().sort()
        most = max(LEAST_USERS, VALIDATED_CELLS // max(validation.items.height, 1))
        if len(users) > most:
            drawn = np.sort(np.random.default_rng(seed).choice(len(users), most, replace=False))
            chosen = users.gather(drawn)
            positives = positives.with_interactions(
                positives.interactions.filter(pl.col(positives.schema.user).is_in(chosen.implode()))
            )
        self.task = RankingTask.prepare(
            positives,
            train,
            ks=(20, _K),
            candidates=_all_cold(positives, train),
            barred_seen=exclude_seen,
        )
        popular = [
            self.task.measure(one)[f"ndcg@{_K}"] for one in ByPopularity.each(train, rule, least_grade)
        ]
        self.popularity = max(popular)
        encoder = setup.encoder
        self.sides = {
            "users": _packed(validation.users, encoder.users, self.task.users, device),
            "items": _packed(validation.items, encoder.items, self.task.items, device),
        }

    def __call__(self, model: TwoTowerModel) -> dict[str, float]:
        """Measure the model."""
        U, V = (model.encode(self.sides[which], which).cpu().numpy() for which in ("users", "items"))
        measured = self.task.measure(_Ranking(U, V, self.task.users))
        values = {f"validation_{name}": measured[name] for name in (f"ndcg@{_K}", "recall@20")}
        return {**values, f"validation_popularity_ndcg@{_K}": self.popularity}


def _all_cold(positives: Dataset, train: TrainPart) -> pl.Series | None:
    """Return the items of the positives if none of them has training interactions, else None."""
    item = positives.schema.item
    items = positives.interactions.get_column(item).unique()
    known = train.interactions.get_column(item).unique().cast(items.dtype, strict=False)
    return None if items.is_in(known.implode()).any() else items


class _Ranking(Ranker):
    """Ranks by vectors at hand."""

    name = "two-tower"

    def __init__(self, U: NDArray[np.float32], V: NDArray[np.float32], users: pl.Series) -> None:
        self.U, self.V, self.users = U, V, users

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank the task's whole catalogue for some of its users."""
        rows = self.users.search_sorted(queries.users).to_numpy()
        return exact_top_k(self.U[rows], self.V, k, seen=queries.barred).items


def _packed(table: pl.DataFrame, side: SideEncoder, ids: pl.Series, device: torch.device) -> SideArrays:
    """Return the arrays of some ids, in their order."""
    wanted = ids.alias(side.column).to_frame()
    found = table.join(wanted, on=side.column, how="right", maintain_order="right")
    return SideArrays.pack(side.transform(found), device)
