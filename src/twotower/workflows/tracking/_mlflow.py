"""MLflow tracking, by default in a local SQLite file. The only module that imports MLflow."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from twotower.errors import MissingExtraError
from twotower.workflows.tracking.tracker import Status, TrackedRun, Tracker

DEFAULT: Final = "sqlite:///mlflow.db"
EXPERIMENT: Final = "twotower"
_PATH, _KEY, _STATUS, _PARENT = "twotower.path", "twotower.key", "twotower.status", "mlflow.parentRunId"
_AT_ONCE: Final = 100
"""Maximum number of parameters in one MLflow batch."""
_STATES: Final[Mapping[Status, str]] = {
    "finished": "FINISHED",
    "pruned": "KILLED",
    "interrupted": "KILLED",
    "failed": "FAILED",
}


@cache
def _mlflow(name: str) -> Any:
    """Import a module of MLflow on first use.

    Raises:
        MissingExtraError: it is not installed.
    """
    # By default it sends telemetry, and retries an unreachable server for minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        found = importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(
            "tracking with MLflow needs the library mlflow-skinny, which is not installed; install it with: "
            "pip install 'twotower[mlflow]'"
        ) from None
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.ERROR)
    return found


class MLflow(Tracker):
    """Runs in an MLflow store.

    Args:
        address: of the store, such as ``http://localhost:5000``. Default: the environment variable
            ``MLFLOW_TRACKING_URI``, or an SQLite file ``mlflow.db`` in the working directory.
    """

    kind: ClassVar[str] = "mlflow"

    def __init__(self, address: str | None = None) -> None:
        self.address = address or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT
        _mlflow("mlflow.tracking")  # fail here, not later

    @cached_property
    def _client(self) -> Any:
        return _mlflow("mlflow.tracking").MlflowClient(tracking_uri=self.address)

    def begin(
        self, path: Path, name: str, parameters: Mapping[str, str], parent: TrackedRun | None
    ) -> TrackedRun:
        """Start a run, or resume the unfinished one of the same directory."""
        experiment = self._experiment()
        key = hashlib.sha256(
            str(path).encode()
        ).hexdigest()  # a search expression can't contain every character
        run = next(self._unfinished(experiment, key), None)
        if run is None:
            tags = {_PATH: str(path), _KEY: key}
            if isinstance(parent, _Run):
                tags[_PARENT] = parent.run
            run = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
        else:
            self._client.update_run(run, status="RUNNING")
        entities = _mlflow("mlflow.entities")
        known = self._client.get_run(run).data.params
        new = [entities.Param(key, value) for key, value in parameters.items() if known.get(key) != value]
        for start in range(0, len(new), _AT_ONCE):
            self._client.log_batch(run, params=new[start : start + _AT_ONCE])
        return _Run(self._client, run)

    def _experiment(self) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # next to a local database; a server has its own artifact location
        file = self.address.removeprefix("sqlite:///")
        place = None
        if file != self.address:
            place = (Path(file).absolute().parent / "mlartifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=place))

    def _unfinished(self, experiment: str, key: str) -> Iterator[str]:
        for run in self._client.search_runs([experiment], f"tags.`{_KEY}` = '{key}'"):
            if run.info.status != "FINISHED":
                yield str(run.info.run_id)


class _Run(TrackedRun):
    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        metric, now = _mlflow("mlflow.entities").Metric, int(time.time() * 1000)
        self.client.log_batch(
            self.run, metrics=[metric(name, value, now, step or 0) for name, value in values.items()]
        )

    def keep(self, file: Path) -> None:
        self.client.log_artifact(self.run, str(file))

    def end(self, status: Status) -> None:
        self.client.set_tag(self.run, _STATUS, status)
        self.client.set_terminated(self.run, _STATES[status])
