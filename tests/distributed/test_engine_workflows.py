"""`tune` and `compare` on an engine: trials side by side, and the same comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.testing as npt
import pytest
from local_team import LocalEngine, LocalTeam

import twotower as tt
from small_tables import write_tables
from twotower.config import Config, load_config
from twotower.data.store import StoredEvents, StoredTrain
from twotower.distributed.trainers import BLOCK_TRAINERS
from twotower.errors import TrainingError
from twotower.estimator import TwoTower
from twotower.training import Interrupted
from twotower.training.registry import TRAINERS
from twotower.workflows import compare_rankers, load_parts
from twotower.workflows.measuring import validator_of
from twotower.workflows.reading import check_positives
from twotower.workflows.tuning import engine_trials, searching, tune


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(write_tables(tmp_path_factory.mktemp("tables")), ["training.epochs=2"])


@pytest.fixture(scope="module")
def plain(config: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tune(config, tmp_path_factory.mktemp("plain") / "tune", trials=1)


def tried(result: dict[str, Any]) -> list[tuple[dict[str, Any], float | None]]:
    return [(trial["values"], trial["value"]) for trial in result["history"]]


@pytest.fixture(scope="module")
def tuned(config: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tune(config, tmp_path_factory.mktemp("engine") / "tune", trials=4, engine=LocalEngine())


def test_trials_differ_and_have_the_values_of_a_training_here(
    tuned: dict[str, Any], plain: dict[str, Any], config: Config
) -> None:
    assert tried(tuned)[0] == tried(plain)[0]
    assert tuned["trials"] == {"complete": 4, "pruned": 0, "failed": 0}
    values = [trial["values"] for trial in tuned["history"]]
    assert all(one not in values[:place] for place, one in enumerate(values))
    parts = load_parts(config)
    validator = validator_of(config, parts, check_positives(config, parts))
    last = searching.with_values(config, values[-1], "a trial")
    training = last.training.model_copy(update={"refit": False})
    model = TwoTower.from_config(last.model_copy(update={"training": training})).fit(
        parts.train, parts.validation, progress=False
    )
    assert tuned["history"][-1]["value"] == validator.value(validator.totals(model))
    assert tuned["history"][-1]["epochs"] == 2


def test_the_trials_are_the_same_again(tuned: dict[str, Any], config: Config, tmp_path: Path) -> None:
    again = tune(config, tmp_path / "tune", trials=4, engine=LocalEngine())
    assert tried(again) == tried(tuned)


def test_an_interruption_keeps_what_is_finished_and_can_be_resumed(
    tuned: dict[str, Any], config: Config, tmp_path: Path
) -> None:
    class Breaks(LocalEngine):
        def map(self, *given: Any) -> Any:
            for number, result in enumerate(super().map(*given)):
                if number == 1:
                    raise KeyboardInterrupt
                yield result

    with pytest.raises(Interrupted, match="interrupted after 2 trials"):
        tune(config, tmp_path / "tune", trials=4, engine=Breaks())
    resumed = tune(config, tmp_path / "tune", trials=4, engine=LocalEngine(), resume=True)
    assert resumed["trials"] == {"complete": 4, "pruned": 0, "failed": 2}


def test_a_trial_that_fails_or_is_out_of_time_is_noted(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(data: object, asked: object) -> engine_trials.Outcome:
        return engine_trials.Outcome(problem="the loss must stay finite")

    monkeypatch.setattr(searching, "tried", failing)
    engine = LocalEngine()
    monkeypatch.setattr(
        engine, "map", lambda function, shared, items: [function(shared, one) for one in items]
    )
    found = tune(config, tmp_path / "failing", trials=4, engine=engine)
    assert found["trials"] == {"complete": 1, "pruned": 3, "failed": 0}
    assert {trial["note"] for trial in found["history"][1:]} == {"the loss must stay finite"}
    monkeypatch.setattr(searching, "tried", lambda data, asked: engine_trials.Outcome())
    found = tune(config, tmp_path / "late", minutes=5, engine=engine)
    assert found["ended"] == "5 min"
    assert {trial["note"] for trial in found["history"][1:]} == {"out of time"}


def test_a_worker_keeps_to_its_time_and_says_what_fails(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = load_parts(config)
    validator = validator_of(config, parts, check_positives(config, parts))
    data = engine_trials.TrialData(parts.train, parts.validation, validator)
    late = engine_trials.tried(data, engine_trials.AskedTrial(config, -1.0))
    worse, better = (
        engine_trials.tried(data, engine_trials.AskedTrial(config, 600.0, {2: rmse})) for rmse in (0.0, 1e9)
    )
    assert (worse.totals, worse.problem) == (None, "most other trials were better at epoch 2")
    assert (len(worse.records), better.problem) == (2, "")
    assert (late.totals, late.problem) == (None, "")

    def fails(*_: object, **__: object) -> None:
        raise TrainingError("the loss must stay finite")

    monkeypatch.setattr(TwoTower, "fit", fails)
    assert (
        engine_trials.tried(data, engine_trials.AskedTrial(config, 9.0)).problem
        == "the loss must stay finite"
    )


def test_a_comparison_on_an_engine_is_that_of_this_process(config: Config) -> None:
    ranking = config.model_copy(
        update={
            "objective": tt.TwoTower(objective="all_pairs").objective,
            "model": tt.TwoTower(kind="linear", dim=8).model,
            "training": tt.TwoTower(kind="linear", epochs=2).training,
        }
    )
    parts, engine = load_parts(config), LocalEngine()
    model = TwoTower.from_config(ranking).fit(parts.train, parts.validation, progress=False)
    found, here = (
        compare_rankers(ranking, model, parts, baselines=["popularity"], engine=one).as_dict()
        for one in (engine, None)
    )
    assert engine.calls == 2
    assert found == here


@pytest.mark.parametrize("objective", ["all_pairs", "squared"])
def test_interactions_on_disk_are_trained_in_blocks(config: Config, tmp_path: Path, objective: str) -> None:
    parts = load_parts(config)
    train = parts.train
    events = StoredEvents.of(train, tmp_path / "store")
    stored = StoredTrain(events, train.users, train.items, train.schema, ())
    engine = LocalEngine()
    engine.trainer = lambda kind, *task: BLOCK_TRAINERS[TRAINERS.known_as(kind)].on(LocalTeam(3), *task)
    estimator = TwoTower(kind="linear", objective=objective, dim=8, regularisation=0.3, epochs=2)
    found = [
        estimator.fit(data, parts.validation, engine=one).users.vectors
        for data, one in ((stored, engine), (train, engine), (train, None))
    ]
    npt.assert_allclose(found[0], found[2], atol=1e-4)
    npt.assert_allclose(found[1], found[2], atol=1e-4)
