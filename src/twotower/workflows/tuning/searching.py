"""The search: one trial after another, on the training and validation sets only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from twotower.config import Config, with_values
from twotower.config.parts import AUTO
from twotower.core.atomic import disk_errors, replacing
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import BundleError, ConfigError, TrainingError
from twotower.estimator import TwoTower
from twotower.evaluation import RankingValidator, RatingValidator
from twotower.evaluation.validator import FloatArray
from twotower.training import Callback, Interrupted, Record
from twotower.training.engine import Engine
from twotower.workflows.tracking import Tracked, Tracking
from twotower.workflows.tuning._optuna import Study
from twotower.workflows.tuning.budget import Budget
from twotower.workflows.tuning.engine_trials import AskedTrial, Outcome, TrialData, tried
from twotower.workflows.tuning.space import Space, given_values
from twotower.workflows.tuning.trials import Trial, best_of, complete, counted
from twotower.workflows.tuning.watching import Watcher


@dataclass(frozen=True)
class Search:
    """A search over configs.

    Attributes:
        given: the original config; the first trial.
        space: the search space, which includes the original values.
        train: the training set of every trial.
        validation: the set that trials are evaluated on.
        validator: measures a trial.
        study: stores the trials.
        scores: folder with each user's contribution to each complete trial's value.
    """

    given: Config
    space: Space
    train: TrainPart
    validation: Dataset
    validator: RankingValidator | RatingValidator
    study: Study
    scores: Path

    def config_of(self, trial: Trial) -> Config:
        """Return the config of a trial; for the first trial, exactly the original config."""
        return self._config(trial.values)

    def given_trial(self) -> Trial | None:
        """Return the first trial, the original config, if it is complete."""
        return next(iter(complete(self.study.trials())), None)

    def best(self) -> Trial | None:
        """Return the best complete trial."""
        return best_of(self.study.trials(), maximise=self.validator.measure.higher_is_better)

    def totals(self) -> FloatArray:
        """Return (n_complete, n_users) each user's contribution to each complete trial's value.

        Raises:
            BundleError: a file is missing or damaged.
        """
        rows = [self._read(trial.number) for trial in complete(self.study.trials())]
        return np.stack(rows) if rows else np.empty((0, len(self.validator.counts)))

    def run(
        self,
        budget: Budget,
        watcher: Watcher,
        tracking: Tracking | None = None,
        engine: Engine | None = None,
    ) -> str:
        """Try configs until the budget is spent; return the limit that was reached.

        On an engine, as many trials as it has workers are proposed together and run side by side, after the
        first, which is the original config. They are compared with those that were finished before.

        Args:
            budget: includes what was spent before an interruption.
            watcher: receives progress.
            tracking: where trials are tracked.
            engine: where trials run; None for this process.

        Raises:
            TrainingError: the original config can't be trained.
            Interrupted, KeyboardInterrupt: Ctrl-C; finished trials are kept.
        """
        self.study.give_up_broken()
        with disk_errors(self.scores):
            self.scores.mkdir(parents=True, exist_ok=True)
        watcher.begin(budget, self.validator.measure)
        first = given_values(self.given, self.space)
        while (reason := self.study.fact("over") or budget.spent(self.study.trials())) is None:
            if engine is not None and counted(self.study.trials()):
                if self._together(budget, watcher, tracking or Tracking(), engine, first):
                    continue
                reason = f"{budget.minutes:g} min"
                break
            # The first trial has no time limit: without it there is nothing to compare with.
            trials = self.study.trials()
            left = budget.seconds_left(trials) if counted(trials) else float("inf")
            number, values = self.study.ask(self.space, self.given.objective.name, first)
            name = self.scores.parent / f"trial-{number:05d}"
            try:
                watcher.trial(number, values)
                with (tracking or Tracking()).run(name, values) as tracked:
                    in_time = self._try(number, values, time.monotonic() + left, watcher, tracked)
                    self._track(tracked, self.study.trials()[-1])
            except (Interrupted, KeyboardInterrupt):
                if self.study.is_running(number):
                    self.study.fail(number, "interrupted")
                raise
            self._tell(watcher, number)
            if not in_time:
                reason = f"{budget.minutes:g} min"
                break
        self.study.keep_fact("over", reason)
        watcher.end(reason)
        return reason

    def _together(
        self,
        budget: Budget,
        watcher: Watcher,
        tracking: Tracking,
        engine: Engine,
        first: Mapping[str, Any],
    ) -> bool:
        """Try some configs side by side on an engine's workers; return whether there was time for all."""
        in_time = True
        trials = self.study.trials()
        room = engine.workers
        if budget.trials is not None:
            room = min(room, budget.trials - len(counted(trials)))
        seconds, medians = budget.seconds_left(trials) / room, self.study.medians()
        asked: dict[int, tuple[dict[str, Any], AskedTrial]] = {}
        seen = [dict(trial.values) for trial in counted(trials)]
        try:
            for _ in range(room):
                number, values = self.study.ask(self.space, self.given.objective.name, first)
                watcher.trial(number, values)
                try:
                    config = self._config(values)
                except ConfigError as error:  # each value is valid, but not their combination
                    self.study.prune(number, str(error).splitlines()[0])
                    self._tell(watcher, number)
                    continue
                if (same := self._tried(number, values)) is not None:
                    self._repeat(number, same)
                    self._tell(watcher, number)
                elif values in seen:
                    self.study.prune(number, "same values as another trial at the same time")
                    self._tell(watcher, number)
                else:
                    known = {} if config.model.kind == AUTO else medians  # as in `_try`
                    asked[number] = values, AskedTrial(config, seconds, known)
                    seen.append(values)
            results = engine.map(tried, self._data, [one for _, one in asked.values()])
            for (number, (values, _)), outcome in zip(asked.items(), results, strict=True):
                name = self.scores.parent / f"trial-{number:05d}"
                with tracking.run(name, values) as tracked:
                    in_time = self._take(number, outcome, watcher, tracked) and in_time
                self._tell(watcher, number)
        except BaseException:
            for number in asked:
                if self.study.is_running(number):
                    self.study.fail(number, "interrupted")
            raise
        return in_time

    @cached_property
    def _data(self) -> TrialData:
        return TrialData(self.train, self.validation, self.validator)

    def _take(self, number: int, outcome: Outcome, watcher: Watcher, tracked: Tracked) -> bool:
        """Note the result of a trial that a worker has finished; return whether there was time for it."""
        epochs = tracked.epochs()
        for record in outcome.records:
            watcher.epoch(record)
            epochs.on_epoch_end(record)
            value = float(record[f"validation_{self.validator.measure.name}"])
            self.study.hopeless(number, int(record["epoch"]), value)
        if outcome.totals is not None:
            self._write(number, outcome.totals)
            self.study.complete(number, self.validator.value(outcome.totals))
        elif outcome.problem:
            self.study.prune(number, outcome.problem)
        else:
            self.study.fail(number, "out of time")
        ended = next(trial for trial in self.study.trials() if trial.number == number)
        self._track(tracked, ended)
        return ended.note != "out of time"

    def _tell(self, watcher: Watcher, number: int) -> None:
        """Report a finished trial."""
        trials = self.study.trials()
        if counted(trials):
            spent = sum(trial.seconds for trial in counted(trials))
            best = best_of(trials, maximise=self.validator.measure.higher_is_better)
            ended = next(trial for trial in trials if trial.number == number)
            watcher.ended(ended, best, len(counted(trials)), spent)

    def _try(
        self, number: int, values: Mapping[str, Any], deadline: float, watcher: Watcher, tracked: Tracked
    ) -> bool:
        """Train and evaluate one config; return whether there was time for it."""
        first = not counted(self.study.trials())
        try:
            config = self._config(values)
        except ConfigError as error:  # each value is valid, but not their combination
            self.study.prune(number, str(error).splitlines()[0])
            return True
        if (same := self._tried(number, values)) is not None:
            return self._repeat(number, same)
        pruned = config.model.kind != AUTO  # whose epochs are those of several kinds of towers
        callbacks = [tracked.epochs(), _TrialCallback(self, number, deadline, watcher, pruned)]
        training = config.training.model_copy(update={"refit": False})
        estimator = TwoTower.from_config(config.model_copy(update={"training": training}))
        try:
            recommender = estimator.fit(self.train, self.validation, callbacks=callbacks, progress=False)
        except _Hopeless as found:
            self.study.prune(number, str(found))
            return True
        except _OutOfTime:
            self.study.fail(number, "out of time")
            return False
        except Interrupted:
            raise
        except TrainingError as error:
            if first:
                self.study.fail(number, str(error))
                raise
            self.study.prune(number, str(error))
            return True
        totals = self.validator.totals(recommender)
        self._write(number, totals)
        self.study.complete(number, self.validator.value(totals))
        return True

    def _track(self, tracked: Tracked, trial: Trial) -> None:
        tracked.log({f"validation/{self.validator.measure.name}": trial.value, "seconds": trial.seconds})
        tracked.status = "finished" if trial.state == "complete" else trial.state

    def _config(self, values: Mapping[str, Any]) -> Config:
        given = given_values(self.given, self.space)
        if dict(values) == given:
            return self.given
        return with_values(self.given, values, "a trial")

    def _tried(self, number: int, values: Mapping[str, Any]) -> Trial | None:
        """Return an earlier trial with the same values, if there is one."""
        return next(
            (t for t in counted(self.study.trials()) if t.number < number and t.values == values), None
        )

    def _repeat(self, number: int, earlier: Trial) -> bool:
        """Copy the result of an earlier trial with the same values: the same seed gives the same bits."""
        if earlier.state == "complete":
            totals = self._read(earlier.number)
            self._write(number, totals)
            self.study.complete(number, self.validator.value(totals))
        else:
            self.study.prune(number, f"same values as trial {earlier.number}")
        return True

    def _file(self, number: int) -> Path:
        return self.scores / f"trial-{number:05d}.npy"

    def _write(self, number: int, totals: FloatArray) -> None:
        with replacing(self._file(number)) as temporary, temporary.open("wb") as file:
            np.save(file, totals, allow_pickle=False)

    def _read(self, number: int) -> FloatArray:
        path = self._file(number)
        try:
            found: FloatArray = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise BundleError(
                f"could not read the scores of trial {number} ({path}): {error}; start again with another "
                "--out"
            ) from None
        if found.shape != self.validator.counts.shape:
            raise BundleError(
                f"trial {number} must have scores of {count_of(len(self.validator.counts), 'user')}; {path} "
                f"has shape {found.shape}. The data has changed: start again with another --out"
            )
        return found


class _Hopeless(Exception):
    """Most other trials were better at the same epoch."""


class _OutOfTime(Exception):
    """The time limit is reached."""


class _TrialCallback(Callback):
    """Stops a trial that is unpromising, if it may be ``pruned``, or out of time."""

    def __init__(self, search: Search, number: int, deadline: float, watcher: Watcher, pruned: bool) -> None:
        self._search, self._number, self._deadline, self._watcher = search, number, deadline, watcher
        self._pruned = pruned

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Check the time limit."""
        del epoch, pairs_done, loss
        if time.monotonic() > self._deadline:
            raise _OutOfTime

    def on_epoch_end(self, record: Record) -> None:
        """Compare the epoch's value with other trials at the same epoch."""
        value = float(record[f"validation_{self._search.validator.measure.name}"])
        self._watcher.epoch(record)
        if self._pruned and self._search.study.hopeless(self._number, int(record["epoch"]), value):
            raise _Hopeless(f"most other trials were better at epoch {record['epoch']}")
