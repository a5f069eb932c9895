"""From trained towers to a `Recommender`: vectors of the whole catalogue, seen items, fold-in settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists, cuts
from twotower.core.quantiles import quantiles
from twotower.core.scratch import Scratch
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.store import StoredTrain
from twotower.errors import TrainingError
from twotower.estimator.setup import TrainingSetup, labels_of
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs
from twotower.recommender import Recommender
from twotower.recommender.display import as_displayed
from twotower.recommender.fitted_towers import FittedTowers
from twotower.recommender.parts import Catalogue, EntityVectors, Interactions, Training
from twotower.recommender.read_histories import past_of
from twotower.targets.positive import PositiveRule
from twotower.targets.target import history_grades, label_targets
from twotower.towers import History, finished
from twotower.towers.fold_in import FoldInSettings

LIKED = 0.9
"""Quantile of the training labels that stands for a missing label in a new user's history, for models that
predict a label and data without a rule for positives."""
_MASS = 4.0
"""Total weight of all cells in the fold-in of ranking objectives that are not least squares themselves."""
_NOISE = 0.01
"""Variance of a positive's target around its score, in units of the squared gap between positives and the
rest; it sets the fold-in ridge of objectives that are not least squares themselves."""


def finish(
    setup: TrainingSetup,
    train: TrainPart,
    rule: PositiveRule,
    history: list[dict[str, Any]],
    exclude_seen: bool = True,
    seen: TrainPart | None = None,
) -> Recommender:
    """Encode the whole catalogue, including cold users and items, and record what each user has seen.

    Args:
        setup: the trained towers and their training data.
        train: the training set, including interactions that the objective did not use.
        rule: which interactions are positives.
        history: records of the epochs.
        exclude_seen: whether users are not recommended items they have seen.
        seen: what users have seen; None for the training set. Users and items unknown to the model are left
            out.

    Raises:
        TrainingError: a vector is not finite.
    """
    schema, task, tables = train.schema, setup.task, setup.tables
    events, items = train if seen is None else seen, tables["items"].table
    interactions = _interactions(setup, events, rule)
    sides = {}
    for which, table in tables.items():
        arrays = replace(table.arrays, history=None)
        if which == "users" and interactions.grades is not None:
            past = History.of(past_of(interactions), tables["items"].arrays)
            vectors = task.model.encode(replace(arrays, history=past), which)
        else:
            vectors = task.model.encode(arrays, which)
        done = finished(vectors, which, setup.target)
        if not np.isfinite(done).all():
            advice = setup.trainer.advice(setup.trainer.rate(1))
            raise TrainingError(
                f"the vectors of {which} must be finite; towers '{task.model.config.kind}', trained by "
                f"objective '{task.settings.name}', give nan or infinity{advice}"
            )
        kept = arrays if interactions.grades is not None else None
        sides[which] = EntityVectors(table.ids.ids, done, arrays.warm.cpu().numpy() > 0, kept)
    duration = None
    if schema.duration is not None and schema.duration in items.columns:
        duration = items.get_column(schema.duration).cast(pl.Float64).fill_null(np.nan).to_numpy()
    display = as_displayed(items.select(schema.item, *(c for c in schema.display if c != schema.item)))
    fold_in = _settings(setup, train, rule, sides["users"], sides["items"])
    return Recommender(
        FittedTowers(setup.encoder, task.model.eval(), setup.target),
        Catalogue(sides["users"], sides["items"], display, duration),
        interactions,
        Training(rule, task.settings, fold_in, history, exclude_seen),
    )


def _liked(setup: TrainingSetup, train: TrainPart, rule: PositiveRule) -> float:
    """Return the target of an item that is only known to be liked."""
    target, objective = setup.target, setup.task.settings
    total, n = 0.0, 0

    def parts() -> Iterator[tuple[Dataset, NDArray[np.float64]]]:
        for block in train.blocks():
            yield block, target.as_scores(label_targets(target, rule, objective, *labels_of(block)))

    if not rule.selects and not objective.implicit:
        return float(quantiles(lambda: (values for _, values in parts()), np.array([LIKED]))[0])
    for block, values in parts():
        known = values[rule.positive(block) if rule.selects else np.isfinite(values)]
        total, n = total + float(known.sum()), n + len(known)
    return total / n


def _stored_interactions(setup: TrainingSetup, seen: StoredTrain) -> Interactions:
    """Return what users have seen, on disk."""
    events = seen.events
    user, item = (
        table.ids.rows(ids).astype(np.int64)
        for table, ids in zip(setup.tables.values(), (events.users, events.items), strict=True)
    )
    label = events.label
    if (np.array_equal(user, np.arange(len(setup.tables["users"].ids)))) and (
        np.array_equal(item, np.arange(len(item))) and (label is None or label.dtype == np.float32)
    ):
        return Interactions(Lists(events.indptr, events.item), label)
    counts = np.zeros(len(setup.tables["users"].ids), np.int64)
    order = np.argsort(user, kind="stable")
    order = order[user[order] >= 0]
    lists = Lists(events.indptr, events.item)
    with Scratch(events.space) as scratch:
        items = scratch.column("item", np.int32)
        labels = None if label is None else scratch.column("label", np.float32)
        lengths = lists.lengths[order]
        for first, last in cuts(np.append(0, np.cumsum(lengths))):
            rows = order[first:last]
            place = lists.places(rows).values
            found = item[events.item[place]]
            kept = found >= 0
            owner = np.repeat(user[rows], lengths[first:last])[kept]
            counts += np.bincount(owner, minlength=len(counts)) if len(owner) else 0
            items.append(found[kept])
            if labels is not None and label is not None:
                labels.append(label[place][kept])
        indptr = np.append(0, np.cumsum(counts))
        return Interactions(
            Lists(indptr, scratch.take("item")), None if labels is None else scratch.take("label")
        )


def _interactions(setup: TrainingSetup, seen: TrainPart, rule: PositiveRule) -> Interactions:
    """Return what users have seen, in the order of time if the user tower reads it so."""
    schema, task = seen.schema, setup.task
    tower = task.model.users
    if isinstance(seen, StoredTrain):
        return _stored_interactions(setup, seen)
    user, item = (
        table.ids.rows(seen.interactions.get_column(table.encoder.column)) for table in setup.tables.values()
    )
    label, duration, n = labels_of(seen)
    rows = np.flatnonzero((user >= 0) & (item >= 0))
    times = None
    if tower.reads_history and tower.ordered:
        times = seen.times()
        rows = rows[np.argsort(times[rows], kind="stable")]  # without a time last
    value = np.zeros(n) if label is None else label
    n_users = len(setup.tables["users"].ids)
    pairs = Pairs.from_arrays(
        user[rows], item[rows], value[rows], time=None if times is None else times[rows], n_users=n_users
    )
    labels = None if schema.label is None else pairs.label
    if not tower.reads_history:
        return Interactions(pairs.lists, labels)
    grade = history_grades(rule, task.settings, label, duration, n)[rows]
    grades = Pairs.from_arrays(user[rows], item[rows], grade, n_users=n_users).label
    return Interactions(pairs.lists, labels, grades, pairs.time)


def _settings(
    setup: TrainingSetup,
    train: TrainPart,
    rule: PositiveRule,
    users: EntityVectors,
    items: EntityVectors,
) -> FoldInSettings:
    """Return the fold-in settings; objectives other than least squares get those of `AllPairs`."""
    task, target, solved = setup.task, setup.target, setup.trainer.solves
    pairs, objective = task.by_user, task.settings
    counts = pairs.lists.lengths
    # what `penalty_shares` divides by
    ridge = task.penalty * len(pairs) / float(np.sqrt(counts).sum())
    cells = task.objective.cell_weight(counts, task.items.rows)
    liked = _liked(setup, train, rule)
    if cells is not None:
        return FoldInSettings(cells.weight, ridge, liked, biased=not solved, cell_power=cells.power)
    if not objective.implicit:
        if solved:  # the strength of the prior is the same for all users
            strength = task.penalty * len(pairs) / pairs.n_users
            return FoldInSettings(0.0, strength, liked, mean=target.mean, sd=target.sd, population=True)
        return FoldInSettings(0.0, ridge, liked, mean=target.mean, sd=target.sd)
    layout = task.model.layout
    U, V = users.vectors[users.warm], items.vectors[items.warm]
    positive = float(np.mean(score_pairs(U, V, pairs.user, pairs.item), dtype=np.float64))
    rest = float(U.mean(axis=0, dtype=np.float64) @ V.mean(axis=0, dtype=np.float64))
    raw = layout.latent(U) * layout.members
    variance = float(raw.var(axis=0, dtype=np.float64).mean())
    cell = _MASS * len(pairs) / (pairs.n_users * task.items.rows)
    noise = _NOISE * (positive - rest) ** 2
    return FoldInSettings(cell, noise / max(variance, 1e-12) / float(np.sqrt(counts.mean())), positive, rest)
