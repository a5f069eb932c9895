"""Prepare a training set for the training loop: encoder, target, pairs and towers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.bases import PredictingConfig
from twotower.config.parts import Parts, first_that, trainer_of
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.durations import durations
from twotower.data.store import StoredTrain
from twotower.errors import ConfigError, DataError
from twotower.estimator.earlier import Earlier
from twotower.estimator.settings import Settings
from twotower.features import Encoder
from twotower.features.item_statistics import ItemStatistics
from twotower.kernels.pairs import Pairs
from twotower.objectives.penalty import strength_of
from twotower.objectives.registry import OBJECTIVES
from twotower.targets.positive import PositiveRule
from twotower.targets.target import Target, history_grades, label_targets
from twotower.towers import History, SideArrays, TwoTowerModel
from twotower.towers.encoded_table import EncodedTable
from twotower.towers.registry import TOWERS
from twotower.towers.table_files import on_disk
from twotower.training import Trainer, TrainingTask
from twotower.training.descent import Descent
from twotower.training.engine import Engine
from twotower.training.queries import TrainQueries, in_order
from twotower.training.registry import TRAINERS
from twotower.training.stored_pairs import StoredPairs


class TrainingSetup(NamedTuple):
    """Everything a training phase starts from; every "auto" in the sections is resolved.

    Attributes:
        encoder: fitted on the training set.
        tables: "users" and "items" -> all that the training set knows, encoded.
        target: from labels to what is learned, and back.
        task: the towers and what they learn from.
        trainer: finds their weights.
    """

    encoder: Encoder
    tables: Mapping[str, EncodedTable]
    target: Target
    task: TrainingTask
    trainer: Trainer


def prepare(
    settings: Settings,
    train: TrainPart,
    rule: PositiveRule,
    device: torch.device,
    encoder: Encoder | None = None,
    engine: Engine | None = None,
    earlier: Earlier | None = None,
) -> TrainingSetup:
    """Fit encoder and target on a training set, and convert the data to arrays.

    Args:
        settings: of the estimator.
        train: the training set; a ranking objective without grades learns from its positives alone.
        rule: the rule for positives.
        device: device of the towers and the features.
        encoder: what encodes features; None for one that is fitted on what is learned.
        engine: where it is trained; None for here.
        earlier: the towers that training continues from; None for new ones.
    """
    parts, schema = settled(settings.model, settings.objective, settings.training), train.schema
    model, objective = parts.model, parts.objective
    learned, targets = train, objective_of_targets(model, objective)
    if targets.implicit and not (targets.graded and schema.label is not None):
        learned = rule.select(train).as_train()
    if encoder is None:
        encoder = Encoder.fit(learned) if earlier is None else earlier.encoder.on(learned)
    target = Target.of_positives()
    if isinstance(objective, PredictingConfig):
        check_varied(train)
        target = Target.fit_on(
            learned, transform=objective.transform, cap=objective.cap, logistic=objective.logits
        )
    sides = (encoder.users, encoder.items)
    n_users, n_items = (len(side.warm_ids) for side in sides)
    tables = {which: EncodedTable.of(getattr(encoder, which), train, device) for which in ("users", "items")}
    queries, asked, n_rows = None, None, n_users
    kind = TOWERS.get(model.kind)
    statistics = None
    if kind.reads_statistics:
        tables["items"], statistics = _statistics(train, rule, tables["items"])
    if kind.reads_history:
        past, tables["users"] = _histories(train, tables, rule, objective, ordered=kind.ordered)
        model = kind.settled(model, past.lists.lengths)
        if kind.ordered:
            context = None
            if kind.reads_context and encoder.context.columns:
                context = SideArrays.pack(encoder.context.transform(learned.interactions), device)
            user = encoder.users.rows(learned.interactions.get_column(schema.user))
            queries, asked = TrainQueries.of(user, learned.times(), past, tables["items"].arrays, context)
            n_rows = len(queries.user)
    users, items = (table.take(table.encoder.warm_ids) for table in tables.values())

    def values(part: Dataset) -> NDArray[np.float32]:
        found = label_targets(target, rule, targets, *labels_of(part))
        return found.astype(np.float32)

    pairs = _pairs(learned, encoder, values, asked, n_rows)
    items = replace(items, statistics=None)  # in training they are those of each query's day
    shapes = encoder.user_shape, encoder.item_shape
    method = TRAINERS.get(trainer_of(model, objective, settings.training))
    stored = pairs.space if isinstance(pairs, StoredPairs) else None
    elsewhere = engine is not None and issubclass(method, Descent)  # here the tables are only kept
    with on_disk(stored) if elsewhere else nullcontext():
        towers = TwoTowerModel(*shapes, n_users, n_items, model, settings.seed, target.base)
    if earlier is not None:
        earlier.load_into(towers, encoder)
    loss = OBJECTIVES.get(objective.name).of(objective, len(pairs), n_rows * n_items)
    loss.check(pairs)
    loss = loss.on(pairs)
    penalty = strength_of(objective, pairs, n_items)
    given = (pairs, loss, objective, penalty, settings.seed, queries, statistics)
    task = TrainingTask(towers.to(device), users, items, *given, started=earlier is not None)
    trainer = method(task, parts.training) if engine is None else engine.trainer(method, task, parts.training)
    return TrainingSetup(encoder, tables, target, task, trainer)


def _pairs(
    learned: TrainPart,
    encoder: Encoder,
    values: Callable[[Dataset], NDArray[np.float32]],
    asked: NDArray[np.int64] | None,
    n_rows: int,
) -> Pairs:
    """Return the training pairs.

    Args:
        learned: the interactions that are learned from.
        encoder: fitted on them.
        values: from m of them to what is learned of each, (m,).
        asked: (n,) the query of each; None for its user.
        n_rows: number of queries or users.
    """
    schema = learned.schema
    if isinstance(learned, StoredTrain):
        assert asked is None  # towers that read histories in order have their training set in memory
        return StoredPairs.of(learned.events, learned.events.space, map(values, learned.blocks()))
    weight = None
    if schema.weight is not None:
        weight = learned.interactions.get_column(schema.weight).to_numpy().astype(np.float32)
        weight = weight / max(float(weight.mean(dtype=np.float64)), 1e-12)  # 1 on average
    sides = (encoder.users, encoder.items)
    user, item = (side.rows(learned.interactions.get_column(side.column)) for side in sides)
    return Pairs.from_arrays(user if asked is None else asked, item, values(learned), weight, n_users=n_rows)


def rebuilt(setup: TrainingSetup, settings: Settings) -> TrainingSetup:
    """Return a set-up with new towers for other sizes, regularisation and the like, on the same arrays.

    Args:
        setup: of the same training set, with the same kinds of towers and objective.
        settings: of the estimator.
    """
    parts, task = settled(settings.model, settings.objective, settings.training), setup.task
    users, items = task.users, task.items
    shapes = setup.encoder.user_shape, setup.encoder.item_shape
    towers = TwoTowerModel(*shapes, users.rows, items.rows, parts.model, task.seed, setup.target.base)
    task = replace(
        task,
        model=towers.to(users.dense.device),
        settings=parts.objective,
        penalty=strength_of(parts.objective, task.pairs, items.rows),
    )
    return setup._replace(task=task, trainer=setup.trainer.remade(task, parts.training))


def _statistics(
    train: Dataset, rule: PositiveRule, table: EncodedTable
) -> tuple[EncodedTable, ItemStatistics | None]:
    """Return the items with their statistics at the end of the training set, and of warm ones by day."""
    positives = train.with_interactions(train.interactions.filter(pl.Series(rule.positive(train))))
    found = ItemStatistics.of(positives, table.table, table.ids)
    if found is None:
        return table, None
    now = torch.from_numpy(found.now).to(table.arrays.warm.device)
    warm = found.take(table.ids.rows(table.encoder.warm_ids))
    return replace(table, arrays=replace(table.arrays, statistics=now)), warm


def _histories(
    train: TrainPart,
    tables: Mapping[str, EncodedTable],
    rule: PositiveRule,
    objective: ObjectiveConfig,
    *,
    ordered: bool,
) -> tuple[Pairs, EncodedTable]:
    """Return what warm users did, and the table of all users with everything that they did.

    Raises:
        ConfigError: the order is needed and the schema names no timestamp.
    """
    schema, events = train.schema, train.interactions
    if ordered and schema.timestamp is None:
        raise ConfigError(
            "towers that read histories need the time of each interaction; set schema.timestamp to its column"
        )
    users, items = tables["users"], tables["items"]
    user, item = events.get_column(schema.user), items.ids.rows(events.get_column(schema.item))
    grade = history_grades(rule, objective, *labels_of(train))
    time = train.times() if ordered else np.zeros(len(events))
    warm, n_warm = users.encoder.rows(user), len(users.encoder.warm_ids)
    past = in_order(warm, item, grade, time, n_warm)
    every = in_order(users.ids.rows(user), item, grade, time, len(users.ids))
    arrays = replace(users.arrays, history=History.of(every, items.arrays))
    return past, replace(users, arrays=arrays)


def settled(model: ModelConfig, objective: ObjectiveConfig, training: TrainingConfig) -> Parts:
    """Return the sections with every "auto" resolved that depends on other sections.

    Args:
        model: sizes of the towers.
        objective: settings of the objective.
        training: training settings.
    """
    trainer = TRAINERS.get(trainer_of(model, objective, training))
    members = model.n_members if objective.ensembles or model.ensemble_size != "auto" else 1
    settings = objective.settled(solved=trainer.solves)
    if settings.sampled_items == "auto":
        settings = settings.model_copy(update={"negatives": trainer.sampled})
    return Parts(
        model.model_copy(update={"ensemble_size": members, "dim": trainer.width(model, objective)}),
        settings,
        trainer.settled(training, model, objective),
    )


def objective_of_targets(model: ModelConfig, objective: ObjectiveConfig) -> ObjectiveConfig:
    """Return the objective as interactions become targets by it.

    Towers that read histories in order learn what is liked next: positives alone. Their grades are what the
    items of a history count.
    """
    kind = TOWERS.get(model.kind)
    if kind.reads_history and kind.ordered and objective.sampled_items is not None and objective.graded:
        return objective.model_copy(update={"min_grade": None})
    return objective


def check_context(model: ModelConfig, objective: ObjectiveConfig, schema: Schema) -> None:
    """Check that the context and the statistics of items that a schema names are read.

    Raises:
        ConfigError: the towers don't read it, or the objective predicts a label.
    """
    named = context_of(schema)
    if not named:
        return
    readers = [name for name in TOWERS.names() if TOWERS.get(name).reads_context]
    if not TOWERS.get(model.kind).reads_context:
        raise ConfigError(
            f"{named[0]} is read by towers of kind {' or '.join(map(repr, readers))}, got model.kind = "
            f"{model.kind!r}; set that, or leave it out"
        )
    if not objective.implicit:
        raise ConfigError(
            f"{named[0]} is read by models that rank, and objective {objective.name!r} predicts a label; "
            f"choose another, such as {first_that(predicts=False)!r}, or leave it out"
        )


def context_of(schema: Schema) -> list[str]:
    """Return the context and the statistics of items that a schema names, as they are written there."""
    named = [f"[schema.context] ({', '.join(schema.context)})"] if schema.context else []
    for name in schema.statistics:
        given = getattr(schema, name)
        listed = given if isinstance(given, str) else ", ".join(map(str, given))
        named.append(f"schema.{name} ({listed})")
    return named


def carving_of(model: ModelConfig, train: Dataset) -> str:
    """Return the split method by which a validation set is carved from a training set, where none is given:
    each user's last interaction for towers that read histories in order, if a user has more than one with a
    time; else random rows."""
    kind, time = TOWERS.get(model.kind), train.schema.timestamp
    if not (kind.reads_history and kind.ordered and time is not None):
        return "random"
    user = train.interactions.filter(pl.col(time).is_not_null()).get_column(train.schema.user)
    return "leave_last" if user.n_unique() < len(user) else "random"


def labels_of(data: Dataset) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None, int]:
    """Return labels and durations (None if the data has none) and the number of interactions."""
    return None if data.schema.label is None else data.labels(), durations(data), len(data)


def check_varied(train: Dataset) -> None:
    """Check that the labels to predict are not all the same.

    Raises:
        DataError: they are all the same.
    """
    if train.schema.label is None:
        return
    low, high = train.label_quantiles(np.array([0.0, 1.0]))
    if low == high:
        raise DataError(
            f"a label to predict needs at least two different values: all {len(train):,} training rows have "
            f"'{train.schema.label}' = {low:g}. To recommend, rank instead (objective.name = "
            f"'{first_that(predicts=False)}'); to predict, choose another label"
        )
