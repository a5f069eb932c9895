"""Prepare a training set for the training loop: encoder, target, pairs and towers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.bases import PredictingConfig
from twotower.config.parts import Parts, first_that, trainer_of
from twotower.core.vocabulary import rows_of_ids
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.data.placeholders import constant
from twotower.errors import DataError
from twotower.features import Encoder
from twotower.features.encoder import SideEncoder, catalogue
from twotower.kernels.pairs import Pairs
from twotower.objectives import Objective
from twotower.objectives.registry import OBJECTIVES
from twotower.targets.positive import PositiveRule
from twotower.targets.target import Target, label_targets
from twotower.towers import SideArrays, TwoTowerModel
from twotower.training import Trainer, TrainingTask, TrainPairs
from twotower.training.registry import TRAINERS


class TrainingSetup(NamedTuple):
    """Everything a training phase starts from; every "auto" in the sections is resolved."""

    encoder: Encoder
    target: Target
    task: TrainingTask
    trainer: Trainer

    @property
    def objective(self) -> Objective:
        """The loss."""
        return self.task.objective


def prepare(
    train: TrainPart,
    model: ModelConfig,
    objective: ObjectiveConfig,
    training: TrainingConfig,
    rule: PositiveRule,
    *,
    device: torch.device,
    seed: int,
) -> TrainingSetup:
    """Fit encoder and target on a training set, and convert the data to arrays.

    Args:
        train: the training set; a ranking objective without grades uses only its positives.
        model: sizes of the towers.
        objective: settings of the objective.
        training: training settings; they decide whether the towers are trained by gradients.
        rule: the rule for positives.
        device: device of the towers and the features.
        seed: random seed of the weights.
    """
    if objective.implicit and not (objective.graded and train.schema.label is not None):
        train = rule.select(train).as_train()
    parts = settled(model, objective, training)
    model, objective = parts.model, parts.objective
    encoder = Encoder.fit(train)
    target, values = _target(train, objective, rule)
    weight = None
    if train.schema.weight is not None:
        weight = train.interactions.get_column(train.schema.weight).to_numpy().astype(np.float32)
        weight = weight / max(float(weight.mean(dtype=np.float64)), 1e-12)  # 1 on average
    pairs = TrainPairs.sort(
        _warm_rows(train, encoder.users),
        _warm_rows(train, encoder.items),
        values,
        weight,
        len(encoder.users.warm_ids),
        len(encoder.items.warm_ids),
    )
    users, items = (
        _warm_arrays(train, which, side, device)
        for which, side in (("users", encoder.users), ("items", encoder.items))
    )
    towers = TwoTowerModel(users, items, pairs.n_users, pairs.n_items, model, seed, target.base).to(device)
    loss = OBJECTIVES.get(objective.name).of(objective, len(pairs), pairs.n_users * pairs.n_items)
    loss.check(Pairs(np.array([0, len(pairs)]), pairs.item, pairs.target, pairs.weight))
    task = TrainingTask(towers, users, items, pairs, loss, objective, strength_of(objective, pairs), seed)
    trainer = TRAINERS.get(trainer_of(model, objective, training))
    return TrainingSetup(encoder, target, task, trainer(task, parts.training))


def settled(model: ModelConfig, objective: ObjectiveConfig, training: TrainingConfig) -> Parts:
    """Return the sections with every "auto" resolved that depends on other sections.

    Args:
        model: sizes of the towers.
        objective: settings of the objective.
        training: training settings.
    """
    trainer = TRAINERS.get(trainer_of(model, objective, training))
    members = model.n_members if objective.ensembles or model.ensemble_size != "auto" else 1
    strength = objective.regularisation
    if strength == "auto":
        strength = objective.auto_regularisation(solved=trainer.solves)
    return Parts(
        model.model_copy(update={"ensemble_size": members}),
        objective.model_copy(update={"regularisation": strength}),
        trainer.settled(training, model, objective),
    )


def strength_of(config: ObjectiveConfig, pairs: TrainPairs) -> float:
    """Return the strength of the penalty on vectors, as defined in `twotower.objectives.penalty`.

    This is the regularisation itself, unless the objective has it in units of the noise. A ridge of r on the
    vectors of both sides reduces each singular value of U V' by r. It should remove what pure chance gives:
    for n pairs with targets y of n_users and n_items, the largest singular value is about
    ``sqrt(Q / n_users) + sqrt(Q / n_items)``, Q the sum of the weighted targets' squares (the edge of
    Marchenko and Pastur's law, 1967). Over both sides the geometric mean of the ridge is
    ``strength * n / sqrt(n_users * n_items)``.

    Args:
        config: the objective's settings, with every "auto" resolved.
        pairs: the training pairs.
    """
    given = config.regularisation
    assert given != "auto"
    if not config.in_noise:
        return given
    weighted = pairs.target if pairs.weight is None else pairs.target * pairs.weight
    squares = float(np.square(weighted, dtype=np.float64).sum())
    sides = np.sqrt(pairs.n_users) + np.sqrt(pairs.n_items)
    return float(given * sides * np.sqrt(squares) / max(len(pairs), 1))


def table_of(data: Dataset, which: str, side: SideEncoder) -> pl.DataFrame:
    """Return the table of all users or items, including those with training interactions only."""
    return catalogue(data, which, side.warm_ids)


def labels_of(data: Dataset) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, int]:
    """Return labels and durations (None if the data has none) and the number of interactions."""
    column = data.schema.label
    label = None if column is None else data.interactions.get_column(column).cast(pl.Float64).to_numpy()
    return label, durations(data), len(data)


def check_varied(train: Dataset) -> None:
    """Check that the labels to predict are not all the same.

    Raises:
        DataError: they are all the same.
    """
    label, _, n = labels_of(train)
    if label is not None and constant(label):
        raise DataError(
            f"a label to predict needs at least two different values: all {n:,} training rows have "
            f"'{train.schema.label}' = {label[0]:g}. To recommend, rank instead (objective.name = "
            f"'{first_that(predicts=False)}'); to predict, choose another label"
        )


def _target(
    train: TrainPart, objective: ObjectiveConfig, rule: PositiveRule
) -> tuple[Target, NDArray[np.float32]]:
    """Return the target and the training values, float32 (n,)."""
    label, duration, n = labels_of(train)
    if not isinstance(objective, PredictingConfig):
        target = Target.of_positives()
    else:
        assert label is not None
        check_varied(train)
        target = Target.fit(
            label,
            duration,
            transform=objective.transform,
            cap=objective.cap,
            logistic=objective.logits,
        )
    return target, label_targets(target, rule, objective, label, duration, n).astype(np.float32)


def _warm_arrays(train: TrainPart, which: str, side: SideEncoder, device: torch.device) -> SideArrays:
    rows = rows_of_ids(table_of(train, which, side), side.column, side.warm_ids)
    return SideArrays.pack(side.transform(rows), device)


def _warm_rows(train: Dataset, side: SideEncoder) -> NDArray[np.int32]:
    return side.rows(train.interactions.get_column(side.column)).astype(np.int32)
