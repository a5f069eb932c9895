"""`Ease`: towers of kind ``item_item`` fitted in closed form, in one epoch.

The strength of the ridge is `UNIT` times the regularisation, see `ItemMatrix`; it, the width and what
popularity counts are chosen on the validation set (`item_item_search`).

The vectors of items without training interactions, in histories and as candidates, are ridge regressions of
the others' on their features (`for_newcomers`); so is the vector of a user of whom nothing but features is
known, on the users' vectors.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_array

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.sections import Count
from twotower.errors import ConfigError
from twotower.kernels.scoring import score_pairs
from twotower.towers import LinearTower, TwoTowerModel
from twotower.towers.item_item import ItemItemConfig, ItemItemUsers
from twotower.training.choice import Choice
from twotower.training.closed_form.grade_rows import GradeRows, Grades
from twotower.training.closed_form.id_als import from_features
from twotower.training.closed_form.item_item_search import Search, widths_for
from twotower.training.closed_form.item_matrix import F32, ItemMatrix
from twotower.training.closed_form.solver import Solver
from twotower.training.closed_form.wide_ridge import for_newcomers
from twotower.training.trainer import Start, TrainingTask, Worth

UNIT = 24.0
"""Strength of the ridge at a regularisation of 1."""
RAREST = 1e-6
"""Popularity that items with less count as having."""


class EaseConfig(TrainingConfig):
    """``ease``: solves towers of kind ``item_item`` with ``all_pairs`` in closed form, in one epoch."""

    epochs: Count = 1
    """Number of epochs; there is nothing to gain from a second one."""


class Ease(Solver):
    """Fits all weights of a model of kind ``item_item``; see `Trainer`."""

    Config: ClassVar[type[EaseConfig]] = EaseConfig
    at_once: ClassVar[bool] = True
    weighs: ClassVar[bool] = False

    def __init__(self, task: TrainingTask, config: Any) -> None:
        super().__init__(task, config)
        pairs = task.pairs
        if pairs.weight is not None and not (pairs.weight == 1.0).all():
            raise ConfigError(
                f"towers of kind '{task.model.config.kind}' can't weigh interactions; got weights from "
                f"{pairs.weight.min():g} to {pairs.weight.max():g}: leave out schema.weight"
            )
        keys = pairs.user.astype(np.int64) * task.items.rows + pairs.item
        keys, place = np.unique(keys, return_inverse=True)
        self.grade = np.zeros(len(keys), np.float32)
        np.maximum.at(self.grade, place, pairs.label)  # a repeated pair counts once, as in the tower
        self.user, self.item = np.divmod(keys, task.items.rows)
        self.places = task.model.layout.outputs[0][:-1]  # biases stay zero
        self.of_items = for_newcomers(task.items, np.ones(task.items.rows))
        self.of_users = for_newcomers(task.users, np.ones(task.users.rows))
        self.solved: float | None = None
        """The loss of the model, once it is solved for."""

    @cached_property
    def matrix(self) -> ItemMatrix:
        """The item-item matrix."""
        return ItemMatrix.of(self.rows, len(self.places), self.task.seed)

    @cached_property
    def rows(self) -> GradeRows:
        """The users' grades."""
        return Grades(self.grades)

    @property
    def grades(self) -> csr_array:
        """The grades, (n_users, n_items)."""
        shape = (self.task.users.rows, self.task.items.rows)
        return csr_array((self.grade, (self.user, self.item)), shape=shape)

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the towers are of this kind and the objective least squares over all cells."""
        of_kind = isinstance(model, ItemItemUsers.Config) and not model.normalise
        return of_kind and objective.quadratic == "cells"

    @classmethod
    def unread(cls, objective: ObjectiveConfig) -> Collection[str]:
        """Return all but the ridge and what grades are made by; see `Trainer.unread`."""
        read = {"name", "regularisation", *objective.needs_labels}
        return [name for name in type(objective).model_fields if name not in read]

    @classmethod
    def check(cls, config: Any, objective: ObjectiveConfig) -> None:
        """Raise `ValueError` if a setting of the objective was changed that has no effect here."""
        for name in cls.unread(objective):
            value, default = getattr(objective, name), type(objective).model_fields[name].default
            if value != default:
                raise ValueError(
                    f"objective.{name} = {value!r} has no effect on trainer 'ease'; leave it at {default!r}"
                )

    @classmethod
    def searched(cls, objective: ObjectiveConfig) -> Mapping[str, Any]:
        """Return nothing: what there is to search is chosen in each training."""
        return {}

    @classmethod
    def choose(
        cls, model: ModelConfig, objective: ObjectiveConfig, first: TrainingTask, start: Start, worth: Worth
    ) -> Choice | None:
        """Choose the width and the ridge; see `Trainer`."""
        assert isinstance(model, ItemItemConfig)
        along, lean = objective.regularisation == "auto", model.popularity == "auto"
        if not along and not lean and model.dim != "auto":
            return None
        given = objective.settled(solved=True).regularisation

        def begin(dim: int) -> Ease:
            settings = objective.model_copy(update={"regularisation": given})
            trainer = start(model.model_copy(update={"dim": dim}), settings)
            assert isinstance(trainer, Ease)
            return trainer

        def measure(trainer: Ease, regularisation: float, popularity: float, dim: int) -> float:
            try:
                trainer.fit(regularisation, popularity, dim)
            except np.linalg.LinAlgError:  # too small for the precision
                return -math.inf
            return worth(trainer.task.model)

        widths = [model.length]
        if model.dim == "auto":
            widths = widths_for(len(first.pairs), first.items.rows, model.max_dim)
        search = Search(begin, measure, model.exponent)
        return search.choose(widths, float(given), along=along, lean=lean)

    def advice(self, rate: float) -> str:
        """Return what helps if a loss is not finite."""
        return ". Raise objective.regularisation, or look for extreme labels"

    def solve(self, model: TwoTowerModel) -> float:
        """Solve for the whole model once, and return its squared error over all cells.

        It is the sum over all users and items, a pair of the training set predicted from the user's other
        items, as a share of the number of pairs.
        """
        if self.solved is None:
            regularisation = self.task.settings.regularisation
            assert regularisation != "auto"
            assert isinstance(model.config, ItemItemConfig)
            self.solved = self._loss(*self.fit(regularisation, model.config.exponent, model.dim))
        return self.solved

    @torch.no_grad()
    def fit(self, regularisation: float, popularity: float, dim: int) -> tuple[F32, F32, F32]:
        """Solve for the model with some regularisation and the first columns alone, and set its weights.

        Args:
            regularisation: as in the settings.
            popularity: as in the settings.
            dim: length of vectors of which those of the model may be longer; the rest is 0.

        Returns:
            The users' vectors and both factors.
        """
        model = self.task.model
        assert isinstance(model.users, ItemItemUsers)
        assert isinstance(model.items, LinearTower)
        left, right = self.matrix.factors(UNIT * regularisation)
        right *= (np.maximum(self.matrix.popularity, RAREST) ** popularity)[:, None].astype(np.float32)
        for factor in (left, right):
            factor[:, dim - 2 :] = 0.0
        users = self.rows.times(left)  # (n_users, width - 1)
        for tower, rows in ((model.users.inputs, left), (model.items, right)):
            self.of_items.write(self.of_items.fit(rows), tower, self.places)
            own = rows - from_features(tower, self.sides["items"])[:, self.places]
            tower.ids.weight[:, self.places] = torch.from_numpy(own).to(tower.ids.weight)
        self.of_users.write(self.of_users.fit(users), model.users, self.places)
        return users, left, right

    def _loss(self, users: F32, left: F32, right: F32) -> float:
        """Return the loss of users' vectors (n_users, width - 1) and both factors."""
        itself = np.einsum("ij,ij->i", left, right)[self.item] * self.grade
        given = score_pairs(users, right, self.user, self.item)
        every = float(np.vdot((users.T @ users).astype(np.float64), right.T @ right))
        pairs = np.square(given - itself - self.grade, dtype=np.float64) - np.square(given, dtype=np.float64)
        return (every + float(pairs.sum())) / max(len(self.grade), 1)
