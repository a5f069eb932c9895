"""`Study`: trials in an SQLite file and the sampler of new ones. The only module that imports Optuna."""

from __future__ import annotations

import hashlib
import importlib
import json
import sqlite3
import statistics
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from twotower.config.renamed import RENAMED, current_key
from twotower.errors import BundleError, MissingExtraError
from twotower.workflows.tuning.space import Choices, Space
from twotower.workflows.tuning.trials import State, Trial, complete, counted

STARTUP_TRIALS: Final = 10
"""Number of random trials before the sampler uses the results so far."""
PRUNED_FROM_EPOCH: Final = 5
"""A trial is not pruned before this epoch."""
PRUNED_FROM_TRIAL: Final = 5
"""Number of complete trials before any trial is pruned."""
LEAST_FOR_IMPORTANCE: Final = 15
"""Number of complete trials that parameter importance needs."""

_NAME = "twotower"
_STATES: Final[Mapping[str, State]] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@cache
def _optuna() -> Any:
    """Import Optuna on first use.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        library = importlib.import_module("optuna")
    except ImportError:
        raise MissingExtraError(
            "tuning needs the library Optuna, which is not installed; install it with: pip install "
            "'twotower[tune]'"
        ) from None
    library.logging.set_verbosity(library.logging.ERROR)
    return library


class Study:
    """The trials of a search, saved to an SQLite file after each.

    The next proposal depends only on the seed and on the finished trials, so an interrupted study that is
    opened again proposes the same as an uninterrupted one.

    Args:
        path: the file; created if it does not exist.
        maximise: whether higher values are better.
        seed: random seed of the proposals.

    Raises:
        BundleError: the file can't be read or written.
    """

    def __init__(self, path: Path, *, maximise: bool, seed: int) -> None:
        self.path, self.seed, self.maximise = path, seed, maximise
        optuna = _optuna()
        with self._disk():
            _rename_parameters(path)
            self._study = optuna.create_study(
                storage=optuna.storages.RDBStorage(
                    f"sqlite:///{path}", engine_kwargs={"connect_args": {"factory": _Connection}}
                ),
                study_name=_NAME,
                direction="maximize" if maximise else "minimize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(
                    n_startup_trials=PRUNED_FROM_TRIAL, n_warmup_steps=PRUNED_FROM_EPOCH
                ),
            )
        self._running: dict[int, Any] = {}

    def trials(self) -> list[Trial]:
        """Return the finished trials in order."""
        with self._disk():
            frozen = self._study.get_trials(deepcopy=False)
        return [_plain(trial) for trial in frozen if trial.state.is_finished()]

    def give_up_broken(self) -> int:
        """Mark trials left running by an interruption as failed; return how many."""
        with self._disk():
            states = _optuna().trial.TrialState
            broken = self._study.get_trials(deepcopy=False, states=(states.RUNNING,))
            for trial in broken:
                self._study.tell(trial.number, state=states.FAIL)
        self._running.clear()
        return len(broken)

    def fact(self, name: str) -> Any:
        """Return the value stored under a name, or None."""
        with self._disk():
            return self._study.user_attrs.get(name)

    def keep_fact(self, name: str, value: Any) -> None:
        """Store a JSON value with the trials."""
        with self._disk():
            self._study.set_user_attr(name, value)

    def ask(self, space: Space, objective: str, first: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Start a trial, beside others that run; return its number and its values.

        Args:
            space: the search space.
            objective: the objective to train where the space does not choose one.
            first: the values of the first trial.
        """
        optuna, done, others = _optuna(), self.trials(), len(self._running)
        seed = hashlib.sha256(f"{self.seed} {len(counted(done)) + others}".encode()).digest()[:4]
        with self._disk(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.sampler = optuna.samplers.TPESampler(
                seed=int.from_bytes(seed, "big"),
                n_startup_trials=STARTUP_TRIALS,
                multivariate=True,
                constant_liar=others > 0,  # away from what runs at the same time
            )
            if not counted(done) and not self._study.get_trials(False, (optuna.trial.TrialState.WAITING,)):
                self._study.enqueue_trial({key: _stored(space, key, value) for key, value in first.items()})
            trial = self._study.ask()
            self._running[trial.number] = trial
            values = {}
            if "objective.name" in space.parameters:
                values["objective.name"] = objective = _drawn(trial, space, "objective.name")
            for key, _ in space.items_for(objective):
                values[key] = _drawn(trial, space, key)
            trial.set_user_attr("values", values)
        return trial.number, values

    def is_running(self, number: int) -> bool:
        """Return whether a trial was started by this process and is still running."""
        return number in self._running

    def hopeless(self, number: int, epoch: int, value: float) -> bool:
        """Record an epoch's value; return whether most other trials were better at that epoch."""
        with self._disk():
            trial = self._running[number]
            trial.report(value, epoch)
            return bool(trial.should_prune())

    def medians(self) -> dict[int, float]:
        """Return the median value of complete trials at each epoch, below which `hopeless` stops one.

        Empty until there are enough trials.
        """
        with self._disk():
            states = _optuna().trial.TrialState
            done = self._study.get_trials(deepcopy=False, states=(states.COMPLETE,))
        if len(done) < PRUNED_FROM_TRIAL:
            return {}
        values: dict[int, list[float]] = {}
        for trial in done:
            for epoch, value in trial.intermediate_values.items():
                values.setdefault(epoch, []).append(value)
        return {epoch: statistics.median(of) for epoch, of in values.items() if epoch >= PRUNED_FROM_EPOCH}

    def complete(self, number: int, value: float) -> None:
        """End a trial with its value."""
        self._end(number, "COMPLETE", "", value)

    def prune(self, number: int, note: str) -> None:
        """Stop a trial early as unpromising; the sampler then avoids similar values."""
        self._end(number, "PRUNED", note)

    def fail(self, number: int, note: str) -> None:
        """End an interrupted trial; the sampler ignores it."""
        self._end(number, "FAIL", note)

    def importance(self) -> dict[str, float]:
        """Return each parameter's share of the variance between complete trials, greatest first.

        Computed by fANOVA (Hutter, Hoos and Leyton-Brown, ICML 2014) over the parameters that all these
        trials have; empty if there are too few trials or all have the same value.
        """
        done = complete(self.trials())
        if len(done) < LEAST_FOR_IMPORTANCE or len({trial.value for trial in done}) == 1:
            return {}
        with self._disk(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna = _optuna()
            found = optuna.importance.get_param_importances(
                self._study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
            )
        return {key: float(share) for key, share in found.items()}

    def _end(self, number: int, state: str, note: str, value: float | None = None) -> None:
        with self._disk():
            trial = self._running.pop(number)
            trial.set_user_attr("note", note)
            self._study.tell(trial, value, _optuna().trial.TrialState[state])

    @contextmanager
    def _disk(self) -> Iterator[None]:
        # Optuna wraps most SQLAlchemy errors about the file, but not those raised while it creates tables.
        errors = importlib.import_module("sqlalchemy.exc")
        try:
            yield
        except (_optuna().exceptions.StorageInternalError, errors.SQLAlchemyError, sqlite3.Error) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise BundleError(
                f"could not read or write the trials in {self.path}: {reason}; free disk space, or fix the "
                "file's permissions"
            ) from None


class _Connection(sqlite3.Connection):
    """A connection that syncs to disk occasionally, not at each of a trial's many writes.

    Writes survive the end of the process, even a crash; a power failure may lose the last trials.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def _rename_parameters(path: Path) -> None:
    """Give the parameters of saved trials their current names."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as file, file:
        if not file.execute("SELECT 1 FROM sqlite_master WHERE name = 'trial_params'").fetchone():
            return
        for section, names in RENAMED.items():
            for old, new in names.items():
                file.execute(
                    "UPDATE trial_params SET param_name = ? WHERE param_name = ?",
                    (f"{section}.{new}", f"{section}.{old}"),
                )


def _drawn(trial: Any, space: Space, key: str) -> Any:
    domain = space.parameters[key]
    if isinstance(domain, Choices):
        # Optuna stores strings, numbers and booleans only, so a list is stored as JSON.
        names = [json.dumps(value) for value in domain.values]
        return domain.values[names.index(trial.suggest_categorical(key, names))]
    if domain.whole:
        return trial.suggest_int(key, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(key, domain.low, domain.high, log=domain.log)


def _stored(space: Space, key: str, value: Any) -> Any:
    domain = space.parameters[key]
    return json.dumps(domain.values[domain.place(value)]) if isinstance(domain, Choices) else value


def _plain(trial: Any) -> Trial:
    state, last = _STATES[trial.state.name], trial.last_step
    value = trial.value if state == "complete" else None
    if state == "pruned" and last is not None:
        value = trial.intermediate_values[last]
    # the end time of an interrupted trial is unknown
    duration = None if state == "failed" else trial.duration
    return Trial(
        trial.number,
        state,
        value,
        {current_key(key, warn=False): tried for key, tried in trial.user_attrs.get("values", {}).items()},
        0.0 if duration is None else duration.total_seconds(),
        last or 0,
        trial.user_attrs.get("note", "interrupted" if state == "failed" else ""),
    )
