"""Tracked runs: what is logged, read back by the libraries' own readers, and failures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from twotower.config import Config, load_config
from twotower.errors import ConfigError, MissingExtraError
from twotower.training import Callback, Interrupted
from twotower.workflows import RunResult, train, train_seeds
from twotower.workflows.tracking import TrackedRun, Tracker, Tracking, _mlflow, _tensorboard, make_tracking
from twotower.workflows.tuning import Space, Span, Watcher, tune


class Memory(Tracker):
    """Stores runs in memory, and fails on request.

    Attributes:
        runs: name -> what was logged of it.
    """

    kind = "memory"

    def __init__(self, breaks_at: str = "") -> None:
        self.runs: dict[str, MemoryRun] = {}
        self.breaks_at, self.asked = breaks_at, 0

    def begin(self, path, name, parameters, parent):
        self.told(f"begin {name}")
        self.runs[name] = run = MemoryRun(self, path, dict(parameters), parent)
        return run

    def told(self, what: str) -> None:
        self.asked += 1
        if self.breaks_at and what.startswith(self.breaks_at):
            raise OSError("No space left on device\nmore of it")


class MemoryRun(TrackedRun):
    def __init__(self, tracker, path, parameters, parent) -> None:
        self.tracker, self.path, self.parameters, self.parent = tracker, path, parameters, parent
        self.logged: list[tuple[int | None, dict[str, float]]] = []
        self.files: list[str] = []
        self.status = ""

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        self.tracker.told(f"log {step}")
        self.logged.append((step, dict(values)))

    def keep(self, file: Path) -> None:
        self.tracker.told("keep")
        self.files.append(file.name)

    def end(self, status) -> None:
        self.tracker.told("end")
        self.status = status


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    return load_config(folder / "config.toml", ["training.epochs=2"])


@pytest.fixture(scope="module")
def tracked(folder: Path, config: Config) -> RunResult:
    """Return a run that is tracked with MLflow and TensorBoard."""
    addresses = [f"mlflow=sqlite:///{folder / 'runs.db'}", f"tensorboard={folder / 'events'}"]
    return train(config, folder / "run", tracking=make_tracking(addresses, print))


def expected(result: RunResult) -> tuple[dict[tuple[str, int], float], dict[str, float]]:
    """Return the expected values of each epoch and of the run."""
    epochs = {
        (f"{record['phase']}/{key}", record["epoch"]): value
        for record in result.recommender.history
        for key, value in record.items()
        if record["phase"] != "posterior" and key not in ("phase", "epoch", "best")
    }
    metrics = result.metrics
    results = {
        f"test/{name.replace('@', '_at_')}": found["value"]
        for kind in ("rating", "ranking")
        for name, found in metrics[kind].items()
    }
    results |= {f"validation/{name}": value for name, value in metrics["validation"].items()}
    return epochs, results | {f"seconds/{name}": value for name, value in metrics["seconds"].items()}


# Logged values, read by the libraries' own readers


def mlflow_runs(folder: Path) -> tuple[Any, list[Any]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'runs.db'}")
    experiment = client.get_experiment_by_name("twotower")
    return client, list(client.search_runs([experiment.experiment_id]))


def test_what_mlflow_has(tracked: RunResult, folder: Path, tmp_path: Path) -> None:
    client, runs = mlflow_runs(folder)
    (run,) = [run for run in runs if run.info.run_name == "run"]
    assert run.info.status == "FINISHED"
    assert run.data.params["model.dim"] == "8"
    assert run.data.params["model.hidden"] == "[8]"
    assert run.data.params["schema.label"] == "stars"
    epochs, results = expected(tracked)
    assert "train/validation_rmse" in {name for name, _ in epochs}
    for (name, epoch), value in epochs.items():
        found = {m.step: m.value for m in client.get_metric_history(run.info.run_id, name)}
        assert found[epoch] == value
    assert {name: run.data.metrics[name] for name in results} == results
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {
        "config.toml",
        "history.jsonl",
        "metrics.json",
    }
    kept = client.download_artifacts(run.info.run_id, "metrics.json", str(tmp_path))
    assert json.loads(Path(kept).read_text()) == tracked.metrics
    assert (folder / "mlartifacts").is_dir()  # next to the database, not in the working directory


def test_what_tensorboard_has(tracked: RunResult, folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "events" / "run"))
    events.Reload()
    found = {(tag, e.step): e.value for tag in events.Tags()["scalars"] for e in events.Scalars(tag)}
    epochs, results = expected(tracked)
    wanted = epochs | {(name, 0): value for name, value in results.items()}
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, rel=1e-6)  # single precision
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    model.dim = 8\n" in text
    assert events.Tensors("status/text_summary")[0].tensor_proto.string_val[0] == b"finished"


def test_tracking_changes_no_bit_of_the_model(tracked: RunResult, folder: Path, config: Config) -> None:
    alone = train(config, folder / "alone")
    for name in ("vectors.safetensors", "model.safetensors"):
        files = [run.bundle / name for run in (tracked.run, alone.run)]
        if files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes()
    assert tracked.metrics["rating"] == alone.metrics["rating"]


def test_mlflow_goes_on_with_an_unfinished_run_and_knows_parts(tracked, folder: Path) -> None:
    tracker = _mlflow.MLflow(f"sqlite:///{folder / 'runs.db'}")
    path = folder / "o'clock"
    first = tracker.begin(path, "o'clock", {"a": "1"}, None)
    first.log({"train/loss": 0.5}, 1)
    first.end("interrupted")
    again = tracker.begin(path, "o'clock", {"a": "1"}, None)
    assert again.run == first.run
    part = tracker.begin(path / "seed-1", "o'clock/seed-1", {str(n): "x" for n in range(150)}, again)
    part.end("failed")
    again.end("finished")
    assert tracker.begin(path, "o'clock", {"a": "2"}, None).run != first.run
    client, _ = mlflow_runs(folder)
    found = client.get_run(part.run)
    assert found.data.tags["mlflow.parentRunId"] == first.run
    assert (found.info.status, found.data.tags["twotower.status"]) == ("FAILED", "failed")
    assert len(found.data.params) == 150
    assert client.get_run(first.run).info.status == "FINISHED"


def test_mlflow_tells_nobody_else() -> None:
    _mlflow._mlflow("mlflow.tracking")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()


def test_addresses_that_are_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert _mlflow.MLflow().address == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert _mlflow.MLflow().address == "http://tracking:5000"
    assert _tensorboard.TensorBoard().folder == Path("tensorboard")
    assert list(tmp_path.iterdir()) == []


# Nested runs


def test_seeds_are_parts_of_one_run(folder: Path, config: Config, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    memory = Memory()
    result = train_seeds(config, "seeds", 2, tracking=Tracking.to([memory], print))
    assert set(memory.runs) == {"seeds", "seeds/seed-1", "seeds/seed-2"}
    parent = memory.runs["seeds"]
    assert parent.parent is None
    assert all(memory.runs[f"seeds/seed-{n}"].parent is parent for n in (1, 2))
    assert memory.runs["seeds/seed-2"].parameters["seed"] == "2"
    assert {run.status for run in memory.runs.values()} == {"finished"}
    logged = {name: value for _, values in parent.logged for name, value in values.items()}
    assert logged["test/rmse"] == result["rating"]["rmse"]["mean"]
    assert logged["test/rmse_sd"] == result["rating"]["rmse"]["sd"]
    assert parent.files == ["seeds.json"]
    # nothing new is logged
    again = Memory()
    train_seeds(config, "seeds", 2, resume=True, tracking=Tracking.to([again], print))
    assert again.runs == {}


def test_trials_are_parts_of_a_tuning(folder: Path, config: Config, monkeypatch) -> None:
    from twotower.workflows.tuning._optuna import Study

    monkeypatch.setattr(Study, "hopeless", lambda self, number, epoch, value: number == 1)
    memory = Memory()
    space = Space({"objective.regularisation": Span(0.01, 0.5, log=True)})

    class Stops(Watcher):
        def trial(self, number, values) -> None:
            if number == 2:
                raise KeyboardInterrupt

    tracking = Tracking.to([memory], print)
    with pytest.raises(Interrupted):
        tune(config, folder / "tuned", trials=3, space=space, watcher=Stops(), tracking=tracking)
    assert memory.runs["tuned"].status == "interrupted"
    statuses = {name: run.status for name, run in memory.runs.items()}
    assert statuses["tuned/trial-00000"] == "finished"
    assert statuses["tuned/trial-00001"] == "pruned"
    result = tune(config, folder / "tuned", trials=3, space=space, resume=True, tracking=tracking)
    parent = memory.runs["tuned"]
    assert (parent.status, parent.files) == ("finished", ["best.toml", "history.svg", "tune.json"])
    last = result["history"][-1]
    trial = memory.runs[f"tuned/trial-{last['number']:05d}"]
    assert trial.parent is parent
    assert trial.parameters == {key: str(value) for key, value in last["values"].items()}
    if last["state"] == "complete":
        assert trial.logged[-1][1]["validation/rmse"] == last["value"]
    assert memory.runs["tuned/given"].logged[-1] is not None
    assert memory.runs["tuned/given"].parent is parent
    logged = {name: value for _, values in parent.logged for name, value in values.items()}
    assert logged["gain/corrected"] == result["gain"]["corrected"]["value"]
    assert logged["test/rmse_given"] == result["test"]["given"]["value"]


# Failures


@pytest.mark.parametrize("breaks_at", ["log 2", "log None", "keep", "end"])
def test_a_tracker_that_fails_stops_nothing(tmp_path: Path, config: Config, tracked, breaks_at: str) -> None:
    broken, sound, lines = Memory(breaks_at), Memory(), []
    tracking = Tracking.to([broken, sound], lines.append)
    result = train(config, tmp_path / "run", tracking=tracking)
    assert result.metrics["rating"] == tracked.metrics["rating"]
    assert lines == [
        "warning: tracking with memory failed and is now off: No space left on device; the run "
        "itself continues"
    ]
    assert broken.asked < sound.asked or breaks_at == "end"
    assert sound.runs["run"].status == "finished"


def test_a_tracker_that_fails_between_runs_stops_nothing(folder: Path, config: Config) -> None:
    broken, lines = Memory("begin many/seed-2"), []
    result = train_seeds(config, folder / "many", 2, tracking=Tracking.to([broken], lines.append))
    assert len(result["seeds"]) == 2
    assert len(lines) == 1
    assert set(broken.runs) == {"many", "many/seed-1"}


def test_a_run_that_cannot_begin_is_an_error_and_leaves_nothing(tmp_path: Path, config: Config) -> None:
    tracking = Tracking.to([Memory("begin")], print)
    with pytest.raises(ConfigError, match=r"memory must be reachable .*No space left on device\. Correct"):
        train(config, tmp_path / "run", tracking=tracking)
    assert not (tmp_path / "run").exists()


def test_a_server_that_is_not_there(tmp_path: Path, config: Config) -> None:
    tracking = make_tracking(["mlflow=http://127.0.0.1:9"], print)
    with pytest.raises(ConfigError, match="mlflow must be reachable"):
        train(config, tmp_path / "run", tracking=tracking)


@pytest.mark.parametrize(("raised", "status"), [(KeyboardInterrupt, "interrupted"), (ValueError, "failed")])
def test_how_a_run_ended_is_told(tmp_path: Path, config: Config, raised, status: str) -> None:
    class Raises(Callback):
        def on_epoch_end(self, record) -> None:
            raise raised

    memory = Memory()
    with pytest.raises((Interrupted, ValueError)):
        train(config, tmp_path / "run", callbacks=[Raises()], tracking=Tracking.to([memory], print))
    assert memory.runs["run"].status == status


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("mlfow", "Did you mean 'mlflow'"),
        ("wandb", "takes mlflow or tensorboard"),
        ("mlflow=", "optionally with =ADDRESS"),
        ("", "takes mlflow or tensorboard"),
    ],
)
def test_no_such_tracker(told: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_tracking([told], print)


@pytest.mark.parametrize(
    ("kind", "module", "cached"),
    [
        ("mlflow", "mlflow.tracking", _mlflow._mlflow),
        ("tensorboard", "torch.utils.tensorboard", _tensorboard._writer),
    ],
)
def test_without_the_library(kind: str, module: str, cached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    cached.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"pip install 'twotower\[{kind}\]'"):
        make_tracking([kind], print)
    cached.cache_clear()


def test_on_the_command_line(folder: Path, tmp_path: Path, monkeypatch) -> None:
    from typer.testing import CliRunner

    from twotower.cli import app

    monkeypatch.chdir(tmp_path)
    args = ["train", folder / "config.toml", "--set", "training.epochs=1", "--out", "runs/first", "--track"]
    answer = CliRunner().invoke(app, [str(arg) for arg in [*args, "tensorboard"]])
    assert answer.exit_code == 0, answer.stderr
    assert list((tmp_path / "tensorboard" / "runs" / "first").iterdir())
    answer = CliRunner().invoke(app, [str(arg) for arg in [*args, "nothing"]])
    assert answer.exit_code == 2
    assert "--track takes mlflow or tensorboard" in answer.stderr
