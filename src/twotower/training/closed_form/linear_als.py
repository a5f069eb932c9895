"""`LinearALS`: linear towers fitted to `AllPairs` in closed form by alternating least squares (ALS).

With the users' vectors fixed, the items' vectors are the solution of a least-squares problem, and vice versa
(Hu, Koren, Volinsky 2008). A ridge penalty, with a strength proportional to the square root of a row's pairs,
regularises each vector towards its prediction from features, which comes from a regression of the vectors on
the features: a learnt prior (as in collaborative topic regression, Wang and Blei, KDD 2011). A row with few
pairs relies on it, and a row without pairs on nothing else.

A row's prediction uses its features and the *other* rows' vectors (`FeatureRidge`). If it used the row's own
vector, flexible features would overfit: they would seem to explain every row and override the data. With
leave-one-out predictions, features help where they can and are ignored where they do not.

Biases stay zero: the target of an unobserved cell is 0, and a vector can express an item's popularity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from twotower.config import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.objectives.objective import CellWeight
from twotower.towers import LinearTower, TwoTowerModel
from twotower.training.callback import CallbackList
from twotower.training.choice import Choice
from twotower.training.closed_form.choosing import SPARSE, WIDTHS, Search, widths_for
from twotower.training.closed_form.feature_ridge import Design, FeatureRidge
from twotower.training.closed_form.hard_negatives import draws
from twotower.training.closed_form.pair_squares import PairSquares, RowTerms
from twotower.training.closed_form.solver import F32, Solver
from twotower.training.closed_form.wide_ridge import for_newcomers
from twotower.training.trainer import Start, TrainingTask, Worth

EASY_EPOCHS = 4
"""Epochs without hard negatives: before, the scores don't say yet what is hard."""


class ALSConfig(TrainingConfig):
    """``als``: solves linear towers with objectives that are least squares over all cells, in closed form."""


class LinearALS(Solver):
    """Fits all weights of a model with linear towers; see `Trainer`."""

    Config: ClassVar[type[ALSConfig]] = ALSConfig
    least_gain: ClassVar[float] = 0.002  # what is left after some epochs is the noise of validation
    number = 0

    def __init__(self, task: TrainingTask, config: Any) -> None:
        super().__init__(task, config)
        cell = task.objective.cell_weight(task.pairs.lists.lengths, task.items.rows)
        assert cell is not None
        self.squares = self.given = self.problems(cell)
        self.hard_weight: float = getattr(task.settings, "hard_weight", 0.0)
        designs = {which: Design.of(side) for which, side in self.sides.items()}
        ridges = self.squares.ridge
        # the prior of a row: rows are weighted by their ridge strength
        self.priors = {which: FeatureRidge(of, ridges[which]) for which, of in designs.items()}
        # for cold rows: all rows have equal weight
        self.newcomers = {
            which: for_newcomers(side, np.ones_like(ridges[which])) for which, side in self.sides.items()
        }

    def problems(self, cell: CellWeight) -> RowTerms:
        """Return the least-squares problems of the training pairs."""
        return PairSquares(self.task.pairs, self.task.items.rows, cell, self.task.penalty)

    @classmethod
    def trains(cls, model: ModelConfig, objective: ObjectiveConfig) -> bool:
        """Return whether the towers are linear and the objective least squares over all cells."""
        linear = isinstance(model, LinearTower.Config) and not model.normalise
        return linear and objective.quadratic == "cells"

    @property
    def model(self) -> TwoTowerModel:
        """The towers."""
        return self.task.model

    def run(self, number: int) -> None:
        """Run an epoch, counted from 1."""
        self.number = number
        self.solve(self.model)

    def set_regularisation(self, regularisation: float) -> None:
        """Change the regularisation, in the units of the objective's settings."""
        started = self.task.settings.regularisation
        assert started != "auto"
        self.squares = self.given.scale_ridge(regularisation / started)

    @classmethod
    def choose(
        cls, model: ModelConfig, objective: ObjectiveConfig, first: TrainingTask, start: Start, worth: Worth
    ) -> Choice | None:
        """Choose width, regularisation and hard negatives; see `Trainer`."""
        along = objective.regularisation == "auto"
        if not along and model.dim != "auto":
            return None
        rows, settled = first.users.rows + first.items.rows, objective.settled(solved=True)
        widths = [model.length]
        if model.dim == "auto":
            widths = widths_for(len(first.pairs), rows, model.max_dim)
        given, hard = float(settled.regularisation), getattr(settled, "hard_weight", 0.0)
        if model.dim == "auto" and len(widths) == 1 and model.max_dim > WIDTHS[0]:
            return Choice(widths[0], given, hard, "nothing else was tried: the data are large")

        def begin(dim: int, regularisation: float) -> LinearALS:
            update = {"regularisation": regularisation, "hard_weight": 0.0}
            trainer = start(model.model_copy(update={"dim": dim}), objective.model_copy(update=update))
            assert isinstance(trainer, LinearALS)
            return trainer

        open_weight = along and getattr(objective, "hard_weight", 0.0) == "auto"
        sparse = first.users.rows * first.items.rows >= SPARSE * len(first.pairs)
        found = Search(begin, worth).choose(widths, given, along=along, hard=open_weight and sparse)
        return found if open_weight else replace(found, hard_weight=hard)

    def epoch(self, number: int, callbacks: CallbackList) -> float:
        """Run a round; see `Trainer`."""
        self.number = number + EASY_EPOCHS * self.task.started
        return super().epoch(number, callbacks)

    def solve(self, model: TwoTowerModel) -> float:
        """Solve for the items' and then the users' vectors and for the feature weights; return the loss.

        The loss is that of `AllPairs` over all training pairs at the end, averaged over the members.
        """
        places = [own[:-1] for own in model.layout.outputs]  # biases stay zero
        now = self.vectors(model)
        loss = self.round(now, places)
        self.write(model, now, self.newcomers, np.concatenate(places))
        return loss

    def round(self, now: dict[str, F32], places: list[NDArray[np.int64]]) -> float:
        """Solve for the items' and then the users' vectors, in place, and return the loss.

        Args:
            now: the vectors, (rows, width) each.
            places: the columns of each member.
        """
        every, given = np.concatenate(places), self.squares
        assert isinstance(given, PairSquares)
        squares = given
        if self.hard_weight and self.number > EASY_EPOCHS:
            negatives = draws(now["users"], now["items"], self.task.pairs, [self.task.seed, self.number])
            squares = squares.with_negatives(negatives, self.hard_weight)
        for which, against in (("items", "users"), ("users", "items")):
            towards, start = self.priors[which].fit(now[which][:, columns_of(every)]).honest, 0
            for part in places:
                other = np.zeros((len(now[against]), len(part) + 1), np.float32)  # without an offset
                other[:, :-1] = now[against][:, part]
                own = slice(start, start + len(part))
                now[which][:, part] = squares.solve(
                    which, other, now[which][:, columns_of(part)], towards[:, own]
                )
                start += len(part)
        return float(np.mean([given.loss(*(_taken(now, part))) for part in places]))


def columns_of(places: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return columns as a slice if they follow one another, so that no copy of them is made.

    >>> columns_of(np.array([2, 3, 4])), columns_of(np.array([2, 4]))
    (slice(2, 5, None), array([2, 4]))
    """
    first, n = int(places[0]), len(places)
    return slice(first, first + n) if np.array_equal(places, np.arange(first, first + n)) else places


def _taken(now: dict[str, F32], part: NDArray[np.int64]) -> tuple[F32, F32]:
    return np.ascontiguousarray(now["users"][:, part]), np.ascontiguousarray(now["items"][:, part])
