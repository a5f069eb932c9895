"""`Ease`: towers of kind ``item_item`` fitted in closed form; an epoch tries a strength of the ridge.

Each epoch solves for the whole model at another strength, the next one chosen by which was the best so far on
validation: by factors of 2 from a start, then finer. A refit solves once, at the best strength.

The vectors of items without training interactions, in histories and as candidates, are ridge regressions of
the others' on their features (`FeatureRidge`); so is the vector of a user of whom nothing but features is
known, on the users' vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.sparse import csr_array

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.sections import Count, Positive
from twotower.errors import ConfigError
from twotower.kernels.scoring import score_pairs
from twotower.towers import LinearTower, TwoTowerModel
from twotower.towers.item_item import ItemItemUsers
from twotower.training.closed_form.feature_ridge import Design, FeatureRidge
from twotower.training.closed_form.id_als import from_features
from twotower.training.closed_form.item_matrix import F32, ItemMatrix
from twotower.training.closed_form.solver import Solver
from twotower.training.trainer import TrainingTask

START = 8.0
"""The first strength that is tried."""
_FURTHEST = 20.0  # factors of 2 between the first strength and any other


class EaseConfig(TrainingConfig):
    """``ease``: solves towers of kind ``item_item`` with ``all_pairs`` in closed form."""

    epochs: Count = 12
    """Maximum number of strengths of the ridge that are tried."""
    patience: Count = 4
    """Strengths without a better validation metric before the best one is taken."""
    ridge: Literal["auto"] | Positive = "auto"
    """With ``ease``: strength of the ridge on an item's row of the item-item matrix, in units of the root of
    the item's sum of squared grades times the items' mean of it. ``auto``: chosen on the validation set."""


class Ease(Solver):
    """Fits all weights of a model of kind ``item_item``; see `Trainer`."""

    Config: ClassVar[type[EaseConfig]] = EaseConfig

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
        shape = (task.users.rows, task.items.rows)
        matrix = csr_array((self.grade, (self.user, self.item)), shape=shape)
        self.places = task.model.layout.outputs[0][:-1]  # biases stay zero
        self.matrix = ItemMatrix.of(matrix, len(self.places), task.seed)
        self.of_items = FeatureRidge(Design.of(task.items), np.ones(task.items.rows))
        self.of_users = FeatureRidge(Design.of(task.users), np.ones(task.users.rows))
        self.tried: list[float] = []
        self.best: float | None = None
        """In factors of 2 from `START`, as those tried; None before there is one."""
        self.solved: tuple[float, float] | None = None
        """The strength and the loss of the model as it is."""
        self.given: float | None = None if config.ridge == "auto" else float(config.ridge)

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the towers are of this kind and the objective least squares over all cells."""
        of_kind = isinstance(model, ItemItemUsers.Config) and not model.normalise
        return of_kind and objective.quadratic == "cells"

    @classmethod
    def check(cls, config: Any, objective: ObjectiveConfig) -> None:
        """Raise `ValueError` if a setting of the objective was changed that has no effect here."""
        read = {"name", *objective.needs_labels}
        for name, field in type(objective).model_fields.items():
            if name not in read and (value := getattr(objective, name)) != field.default:
                raise ValueError(
                    f"objective.{name} = {value!r} has no effect on trainer 'ease', whose regularisation is "
                    f"training.ridge; leave it at {field.default!r}"
                )

    @classmethod
    def searched(cls, objective: ObjectiveConfig) -> Mapping[str, Any]:
        """Return nothing: what there is to search is chosen in each training."""
        return {}

    @property
    def strength(self) -> float:
        """The strength of the next epoch."""
        return self.given or START * 2.0 ** self._next()

    def _next(self) -> float:
        """Return the next strength, in factors of 2 from `START`: beside the best one, ever closer to it."""
        if self.best is None:
            return 0.0
        step = 1.0
        while True:
            for place in (self.best - step, self.best + step):
                if place not in self.tried and abs(place) <= _FURTHEST:
                    return place
            step /= 2.0

    def observe(self, *, best: bool) -> None:
        """Take note of whether the last strength was the best so far."""
        if self.given is not None:
            return
        place = self._next()
        self.tried.append(place)
        if best or self.best is None:
            self.best = place

    def notes(self) -> dict[str, float]:
        """Return the strength of the ridge."""
        return {} if self.solved is None else {"ridge": self.solved[0]}

    def chosen(self) -> dict[str, Any]:
        """Return the best strength of the ridge."""
        return {"ridge": self.given or START * 2.0 ** (self.best or 0.0)}

    def take_over(self, chosen: Mapping[str, Any]) -> None:
        """Take over the strength of an earlier phase."""
        self.given = float(chosen["ridge"])

    def values(self) -> dict[str, Any]:
        """Return the strengths that were tried."""
        return {"tried": self.tried, "best": self.best, "given": self.given}

    def restore(self, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
        """Take over the strengths that were tried."""
        self.tried, self.best, self.given = list(values["tried"]), values["best"], values["given"]

    def advice(self, rate: float) -> str:
        """Return what helps if a loss is not finite."""
        return ". Raise training.ridge, or look for extreme labels"

    @torch.no_grad()
    def solve(self, model: TwoTowerModel) -> float:
        """Solve for the whole model at the next strength, and return its squared error over all cells.

        It is the sum over all users and items, a pair of the training set predicted from the user's other
        items, as a share of the number of pairs.
        """
        strength = self.strength
        if self.solved is not None and self.solved[0] == strength:
            return self.solved[1]
        assert isinstance(model.users, ItemItemUsers)
        assert isinstance(model.items, LinearTower)
        left, right = self.matrix.factors(strength)
        users = self.matrix.matrix @ left  # (n_users, width - 1)
        for tower, rows in ((model.users.inputs, left), (model.items, right)):
            self.of_items.write(self.of_items.fit(rows), tower, self.places)
            own = rows - from_features(tower, self.sides["items"])[:, self.places]
            tower.ids.weight[:, self.places] = torch.from_numpy(own).to(tower.ids.weight)
        self.of_users.write(self.of_users.fit(users), model.users, self.places)
        self.solved = strength, self._loss(users, left, right)
        return self.solved[1]

    def _loss(self, users: F32, left: F32, right: F32) -> float:
        """Return the loss of users' vectors (n_users, width - 1) and both factors."""
        itself = np.einsum("ij,ij->i", left, right)[self.item] * self.grade
        given = score_pairs(users, right, self.user, self.item)
        every = float(np.vdot((users.T @ users).astype(np.float64), right.T @ right))
        pairs = np.square(given - itself - self.grade, dtype=np.float64) - np.square(given, dtype=np.float64)
        return (every + float(pairs.sum())) / max(len(self.grade), 1)
