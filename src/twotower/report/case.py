"""`Case`: everything that a report is made of, measured once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.baselines import BASELINES, RANKING_BASELINES
from twotower.config import Config
from twotower.config.parts import trainer_of
from twotower.core.registry import Registry
from twotower.data.fingerprint import fingerprint
from twotower.data.splitting import Parts
from twotower.errors import DataError
from twotower.evaluation import Evaluation, RankingEvaluation, RankingTask, RatingEvaluation
from twotower.metrics import Interval, higher_is_better
from twotower.metrics.registry import main_metric
from twotower.recommender import Recommender
from twotower.report.calibration import Calibration, calibrate
from twotower.report.geometry import Geometry, Personal, geometry_of, personal_of
from twotower.report.importance import Importance, importance_of
from twotower.report.lists import GivenLists, lists_of
from twotower.training.registry import TRAINERS
from twotower.workflows import OURS, Comparison, TunedSettings, compare_predictors, compare_rankers
from twotower.workflows.measuring import measured, ranking_task
from twotower.workflows.stages import Log, quiet

CHOICES: Final = ("quick", "all", "none")
"""Which baselines a report can have."""

_SLOW = "it takes long to tune or train"
_UNASKED = "baselines were switched off"


@dataclass(frozen=True)
class DataState:
    """Whether the data is still what the run was trained on.

    Attributes:
        then: its fingerprint when the run was trained; None if the run is of a version that took none.
        now: its fingerprint now.
        seen: share of the test set's pairs that the model was trained on and that don't recur in the parts
            as they are cut now (who sees a film twice has it in both); 0 of an honest split.
    """

    then: str | None
    now: str
    seen: float

    @property
    def changed(self) -> bool:
        """Whether the data is known to be another."""
        return self.then is not None and self.then != self.now


@dataclass(frozen=True, eq=False)
class Case:
    """A trained model on its data. Made by `Case.of`.

    Attributes:
        config: of the run, paths resolved.
        recommender: the model.
        parts: the data as it is now.
        recorded: what the run's ``metrics.json`` holds.
        data: whether the data is still the same.
        evaluation: of the model on the test set as it is now.
        compared: the model beside baselines; None without any.
        left_out: baseline -> why it was left out.
    """

    config: Config
    recommender: Recommender
    parts: Parts
    recorded: Mapping[str, Any]
    data: DataState
    evaluation: Evaluation
    compared: Comparison | None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        config: Config,
        recommender: Recommender,
        parts: Parts,
        recorded: Mapping[str, Any],
        *,
        baselines: str = "quick",
        tuned: TunedSettings | None = None,
        log: Log = quiet,
    ) -> Case:
        """Measure a model on the test set, and baselines beside it.

        Args:
            config: of the run.
            recommender: the model.
            parts: the data, read and split as the config says.
            recorded: the content of the run's ``metrics.json``; what it lacks is left out of the report.
            baselines: one of `CHOICES`.
            tuned: settings of ranking baselines that are known already; those tuned now are added.
            log: called with one line per baseline.
        """
        evaluation = measured(config, recommender, parts.test)
        known: Registry[Any] = RANKING_BASELINES if config.objective.implicit else BASELINES
        quick = {name for name in known if known[name].quick} | set(() if tuned is None else tuned.choices)
        wanted = [name for name in known if baselines == "all" or (baselines == "quick" and name in quick)]
        left_out = {name: _UNASKED if baselines == "none" else _SLOW for name in known if name not in wanted}
        compared = None
        if wanted:
            if config.objective.implicit:
                compared = compare_rankers(config, recommender, parts, baselines=wanted, tuned=tuned, log=log)
            else:
                compared = compare_predictors(config, recommender, parts, baselines=wanted, log=log)
            left_out = {**compared.skipped, **left_out}
        state = DataState(
            recorded.get("data", {}).get("hash"), fingerprint(parts), _seen_share(recommender, parts)
        )
        return cls(config, recommender, parts, recorded, state, evaluation, compared, left_out)

    @property
    def ranks(self) -> bool:
        """Whether the model was trained to rank, and predicts no label."""
        return self.config.objective.implicit

    @property
    def solved(self) -> bool:
        """Whether its vectors were solved for in closed form, so that nothing has a learning rate."""
        return self.config.solved

    @property
    def held_back_by(self) -> str:
        """The setting that keeps its vectors from fitting the training set too closely."""
        config = self.config
        trainer = TRAINERS.get(trainer_of(config.model, config.objective, config.training))
        unread = "regularisation" in trainer.unread(config.objective)
        return "model.dropout" if unread else "objective.regularisation"

    @property
    def main(self) -> str:
        """The metric that a reader is told first: of ranking or of predicted labels, by what was trained."""
        end = f"@{self.k}" if self.ranks else ""
        return main_metric(name for name in self.measured.metrics if name.endswith(end))

    @property
    def k(self) -> int:
        """Where the lists that are looked at end: 10, or the cut-off nearest to it."""
        return min(self.config.evaluation.ks, key=lambda k: (abs(k - 10), k))

    @property
    def higher_is_better(self) -> bool:
        """The direction of `main`."""
        return bool(higher_is_better(self.main))

    @property
    def measured(self) -> RatingEvaluation | RankingEvaluation:
        """What holds `main`, over the whole test set and by slice."""
        part = self.evaluation.ranking if self.ranks else self.evaluation.rating
        assert part is not None  # a model that ranks is always ranked, any other always predicts
        return part

    @property
    def score(self) -> Interval:
        """The value of `main`."""
        return self.measured.metrics[self.main]

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of the epochs."""
        return self.recommender.history

    @property
    def best_baseline(self) -> str | None:
        """The baseline that is best by `main`; None without any."""
        if self.compared is None:
            return None
        models = self.compared.comparison.models
        values = {name: of.metrics[self.main].value for name, of in models.items() if name != OURS}
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        if not values:
            return None
        return (max if self.higher_is_better else min)(values, key=values.__getitem__)

    @cached_property
    def task(self) -> RankingTask | None:
        """The test set made ready for ranking; None where nothing could be relevant, or it was not asked."""
        if self.evaluation.ranking is None:
            return None
        return ranking_task(self.config, self.recommender, self.parts.test)

    @cached_property
    def lists(self) -> GivenLists | None:
        """What the model gives to the users of the test set."""
        return None if self.task is None else lists_of(self.task, self.recommender, self.k)

    @cached_property
    def label(self) -> NDArray[np.float64]:
        """The labels of the test set (n,), capped where the metrics are."""
        return self._capped(self._labels(self.parts.test))

    @cached_property
    def prediction(self) -> NDArray[np.float64]:
        """The predictions of the test set's labels (n,), capped where the metrics are."""
        return self._capped(self.recommender.predict(self.parts.test))

    @cached_property
    def calibration(self) -> Calibration | None:
        """Predicted against actual labels; None of a model that predicts none."""
        if self.ranks:
            return None
        users = self.parts.test.interactions.get_column(self.parts.test.schema.user)
        settings = self.config.evaluation
        return calibrate(
            users, self.label, self.prediction, resamples=settings.resamples, seed=self.config.seed
        )

    @cached_property
    def users(self) -> Geometry:
        """How the vectors of the warm users lie."""
        side = self.recommender.users
        return geometry_of(side.vectors[side.warm], self.recommender.model.layout)

    @cached_property
    def items(self) -> Geometry:
        """How the vectors of the warm items lie."""
        side = self.recommender.items
        return geometry_of(side.vectors[side.warm], self.recommender.model.layout)

    @cached_property
    def personal(self) -> Personal:
        """How much of the scores is a matter of user and item together."""
        users, items = self.recommender.users, self.recommender.items
        return personal_of(users.vectors[users.warm], items.vectors[items.warm], self.config.seed)

    @cached_property
    def importance(self) -> Importance:
        """What each feature is worth on the test set."""
        return importance_of(
            self.recommender,
            self.parts,
            self.main,
            cap=self.config.evaluation.cap,
            candidates=self.config.evaluation.candidates,
            resamples=self.config.evaluation.resamples,
            seed=self.config.seed,
        )

    def _labels(self, data: Any) -> NDArray[np.float64]:
        label = self.parts.test.schema.label
        if label is None:
            raise DataError("these interactions have no label")
        values: NDArray[np.float64] = data.interactions.get_column(label).cast(pl.Float64).to_numpy()
        return values

    def _capped(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        cap = self.config.evaluation.cap
        return values if cap is None else np.minimum(values, cap)


def _seen_share(recommender: Recommender, parts: Parts) -> float:
    """Return the share of the test set's pairs that only the model has met; see `DataState`."""
    schema = parts.test.schema
    seen, columns = recommender.train_view(parts.test).interactions, [schema.user, schema.item]
    test, *recurring = (
        part.interactions.select(pl.col(name).cast(seen.schema[name], strict=False) for name in columns)
        for part in (parts.test, parts.train, parts.validation)
    )
    both = test.join(seen, on=columns, how="semi")
    for known in recurring:
        both = both.join(known, on=columns, how="anti")
    return both.height / max(test.height, 1)
