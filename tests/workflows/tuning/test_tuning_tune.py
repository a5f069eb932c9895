"""`tune` on small tables: its files, the data it reads, and interruptions."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from twotower.config import Config, load_config
from twotower.data.splitting import Parts
from twotower.errors import BundleError, ConfigError, DataError, TrainingError
from twotower.estimator import TwoTower
from twotower.evaluation import RatingValidator, compare_ratings
from twotower.targets.positive import PositiveRule
from twotower.towers.auto import AutoConfig
from twotower.training import Interrupted
from twotower.workflows import Run, load_parts
from twotower.workflows.measuring import validator_of
from twotower.workflows.tuning import Budget, Choices, Space, Span, Watcher, tune
from twotower.workflows.tuning import search_and_test as tuning_module
from twotower.workflows.tuning import searching as searching_module
from twotower.workflows.tuning._optuna import Study
from twotower.workflows.tuning.searching import Search
from twotower.workflows.tuning.trials import Trial

TRIALS = 6


@pytest.fixture(scope="module")
def parts(config: Config) -> Parts:
    return load_parts(config)


@pytest.fixture(scope="module")
def tuned(folder: Path, config: Config) -> dict[str, Any]:
    return tune(config, folder / "tuned", trials=TRIALS)


def tries(result: dict[str, Any]) -> list[tuple[dict[str, Any], str, float | None]]:
    """The trials and their results, without times and without interrupted ones."""
    return [(t["values"], t["state"], t["value"]) for t in result["history"] if t["state"] != "failed"]


# Results


def test_the_first_trial_is_the_given_config(tuned, config: Config, parts: Parts) -> None:
    first = tuned["history"][0]
    assert first["values"]["model.dim"] == 8
    assert first["values"]["objective.regularisation"] == 0.07  # "auto" resolved
    training = config.training.model_copy(update={"refit": False})
    model = TwoTower.from_config(config.model_copy(update={"training": training}))
    predicted = model.fit(parts.train, parts.validation).predict(parts.validation)
    error = predicted - parts.validation.interactions.get_column("stars").to_numpy()
    assert first["value"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert tuned["given"] == {"trial": 0, "validation": first["value"]}


def test_the_best_is_the_best_and_trains_as_it_is(tuned, folder: Path, config: Config) -> None:
    values = [trial["value"] for trial in tuned["history"] if trial["state"] == "complete"]
    assert tuned["best"]["validation"] == min(values) < values[0]
    assert tuned["gain"]["apparent"] == pytest.approx(values[0] - min(values))
    assert not tuned["stands"]
    best = load_config(folder / "tuned" / "best.toml")
    tried = tuned["history"][tuned["best"]["trial"]]["values"]
    for key, value in tried.items():
        section, name = key.split(".")
        assert getattr(best, section).model_dump(mode="json")[name] == value
    assert best == Run(folder / "tuned" / "best").config()
    changed = {key for key, (before, after) in tuned["changed"].items() if before != after}
    assert changed == {k for k, v in tried.items() if v != tuned["history"][0]["values"][k]} | (
        changed & {"model.id_dropout", "objective.regularisation"}
    )
    assert best.data == config.data
    text = (folder / "tuned" / "best.toml").read_text()
    assert text.startswith(f"# The best of {TRIALS} trials: trial {tuned['best']['trial']}")
    assert "regularisation = " in text
    assert '# was "auto"' in text


def test_the_test_is_that_of_the_two_runs(tuned, folder: Path, parts: Parts) -> None:
    runs = {name: Run(folder / "tuned" / name) for name in ("given", "best")}
    for name, run in runs.items():
        assert run.state() == "finished"
        assert tuned["test"][name] == run.metrics()["rating"]["rmse"]
    models = {name: run.recommender() for name, run in runs.items()}
    found = compare_ratings(
        {name: model.predict(parts.test) for name, model in models.items()},
        parts.test,
        models["given"].train_view(parts.test),
        against="given",
        resamples=100,
        seed=1,
    )
    assert tuned["test"]["difference"] == found.differences["best"]["rmse"].as_dict()
    assert set(tuned["test"]["differences"]) == set(found.differences["best"])


def test_validation_figures_are_those_of_the_run(tuned, folder: Path) -> None:
    """The run computes the metric of its epochs by other code."""
    for name in ("given", "best"):
        judged = Run(folder / "tuned" / name).metrics()["validation"]["rmse"]
        assert tuned[name]["validation"] == pytest.approx(judged, rel=1e-5)


def test_the_picture_shows_every_trial(tuned, folder: Path) -> None:
    svg = ElementTree.parse(folder / "tuned" / "history.svg").getroot()
    titles = [title.text or "" for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == TRIALS
    assert titles[0].startswith(f"trial 0: {tuned['given']['validation']:.4f}; dim 8")
    assert "href" not in (folder / "tuned" / "history.svg").read_text()


def test_no_choice_reads_the_test_set(tuned, folder: Path, config: Config, monkeypatch) -> None:
    """With other labels in the test set only the test result changes."""
    load = tuning_module.load_parts

    def other(*args: Any, **kwargs: Any) -> Parts:
        found = load(*args, **kwargs)
        stars = pl.col("stars").reverse() + 1.0
        return Parts(
            found.train,
            found.validation,
            found.test.with_interactions(found.test.interactions.with_columns(stars)),
        )

    monkeypatch.setattr(tuning_module, "load_parts", other)
    again = tune(config, folder / "other", trials=3)
    assert tries(again) == tries(tuned)[:3]
    assert again["test"]["given"] != tuned["test"]["given"]


def test_a_ranking_is_tuned_by_ndcg(folder: Path) -> None:
    settings = ["objective.name=all_pairs", "positive.threshold=3.5", "model.ensemble_size=1"]
    settings.append("objective.unobserved_weight=0.2")
    config = load_config(folder / "config.toml", settings)
    space = Space(
        {"objective.unobserved_weight": Span(0.05, 0.5), "objective.min_grade": Choices(("none", 0.4))}
    )
    result = tune(config, folder / "ranked", trials=3, space=space)
    assert result["metric"] == "ndcg@100"
    for name in ("given", "best"):
        if name == "given" or not result["stands"]:
            run = Run(folder / "ranked" / name)
            assert result[name]["validation"] == pytest.approx(run.metrics()["validation"]["ndcg@100"])
            assert result["test"][name]["value"] == run.metrics()["ranking"]["ndcg@100"]["value"]
    assert result["best"]["validation"] == max(t["value"] for t in result["history"])
    assert set(result["history"][1]["values"]) == {"objective.unobserved_weight", "objective.min_grade"}


def test_a_config_that_is_kept(folder: Path, config: Config) -> None:
    space = Space({"objective.regularisation": Choices((40.0, 50.0))})
    result = tune(config, folder / "stands", trials=4, space=space)
    assert result["stands"]
    assert result["changed"] == {}
    assert result["test"]["difference"] == {}
    assert not (folder / "stands" / "best").exists()
    assert load_config(folder / "stands" / "best.toml") == config
    assert "The original config is kept after 4 trials" in (folder / "stands" / "best.toml").read_text()
    # there are only three combinations: the fourth trial repeats one and is not trained
    by_values = {}
    for trial in result["history"]:
        assert by_values.setdefault(str(trial["values"]), trial["value"]) == trial["value"]
    assert len(by_values) <= 3


# Interruptions


def wait_for(database: Path, finished: int) -> None:
    """Wait until this many trials are finished and another is running."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1) as db:
                states = [state for (state,) in db.execute("SELECT state FROM trials")]
        except sqlite3.Error:
            states = []
        if states.count("COMPLETE") >= finished and "RUNNING" in states:
            return
        time.sleep(0.002)
    raise AssertionError("the search did not get that far")


@pytest.mark.skipif(os.name != "posix", reason="there is no kill -9")
def test_kill_9_changes_nothing(tuned, folder: Path, config: Config) -> None:
    out = folder / "killed"
    command = [sys.executable, "-m", "twotower", "tune", folder / "config.toml", "--out", out]
    command += ["--trials", str(TRIALS)]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
    try:
        wait_for(out / "study.db", 2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "tune.json").exists()
    with pytest.raises(ConfigError, match="contains an unfinished tuning; continue it with --resume"):
        tune(config, out, trials=TRIALS)
    result = tune(config, out, trials=TRIALS, resume=True)
    broken = [trial for trial in result["history"] if trial["state"] == "failed"]
    assert [trial["note"] for trial in broken] == ["interrupted"]
    assert tries(result) == tries(tuned)
    for key in ("gain", "stands", "changed", "importance", "test"):
        assert result[key] == tuned[key]


class Stops(Watcher):
    """Presses Ctrl-C in the second epoch of a trial."""

    def __init__(self, trial: int) -> None:
        self.at, self.number = trial, -1

    def trial(self, number, values) -> None:
        self.number = number

    def epoch(self, record) -> None:
        if (self.number, record["epoch"]) == (self.at, 2):
            raise KeyboardInterrupt


def test_ctrl_c_leaves_the_best_so_far(tuned, folder: Path, config: Config) -> None:
    out = folder / "stopped"
    with pytest.raises(Interrupted, match="before the first trial finished"):
        tune(config, out, trials=TRIALS, watcher=Stops(0))
    with pytest.raises(
        Interrupted, match=r"interrupted after 3 trials; the best config so far is in .*best\.toml"
    ):
        tune(config, out, trials=TRIALS, watcher=Stops(4), resume=True)
    assert (out / "history.svg").exists()
    assert load_config(out / "best.toml").data == config.data
    assert not (out / "given").exists()  # the test set was not used
    result = tune(config, out, trials=TRIALS, resume=True)
    assert [t["note"] for t in result["history"] if t["state"] == "failed"] == ["interrupted"] * 2
    assert tries(result) == tries(tuned)
    assert result["test"] == tuned["test"]


def test_a_break_after_the_search_goes_on_with_the_test(tuned, folder, config, monkeypatch) -> None:
    out = folder / "late"

    def broken(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tuning_module, "measure_both", broken)
        with pytest.raises(Interrupted, match="interrupted after the search"):
            tune(config, out, trials=2)
    # no further trials: resuming after the search only does the final test
    result = tune(config, out, trials=TRIALS, resume=True)
    assert len(result["history"]) == 2
    assert tries(result) == tries(tuned)[:2]


# Refused input


def test_a_finished_tuning_is_returned_as_it_is(tuned, folder: Path, config: Config) -> None:
    lines: list[str] = []
    assert tune(config, folder / "tuned", trials=50, resume=True, log=lines.append) == tuned
    assert "its test set has been used" in lines[0]
    with pytest.raises(ConfigError, match="contains a finished tuning, which is not overwritten"):
        tune(config, folder / "tuned", trials=50)


def test_another_config_space_or_folder(tuned, folder: Path, config: Config, tmp_path: Path) -> None:
    other = load_config(folder / "config.toml", ["model.dim=16"])
    with pytest.raises(ConfigError, match=r"model\.dim: 16, 8"):
        tune(other, folder / "tuned", resume=True)
    space = Space({"model.dim": Choices((8, 16))})
    with pytest.raises(ConfigError, match="the space it was started with"):
        tune(config, folder / "tuned", space=space, resume=True)
    with pytest.raises(ConfigError, match="no tuning to resume"):
        tune(config, tmp_path / "new", resume=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"contains notes\.txt\. Choose another"):
        tune(config, tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        tune(config, tmp_path / "notes.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(("trials", "minutes"), [(0, None), (-1, None), (None, 0.0), (None, float("nan"))])
def test_no_budget(config: Config, tmp_path: Path, trials, minutes) -> None:
    with pytest.raises(ConfigError, match=r"--(trials|minutes) must be"):
        tune(config, tmp_path / "new", trials=trials, minutes=minutes)
    assert not (tmp_path / "new").exists()


def test_a_run_within_a_tuning_is_asked_for(tuned, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"contains several runs; choose one: .*tuned/best.*tuned/given"):
        Run.finished(folder / "tuned")


# `Search` alone


@pytest.fixture
def search(tmp_path: Path, config: Config, parts: Parts) -> Search:
    validator = RatingValidator(parts.validation, "learned")
    study = Study(tmp_path / "study.db", maximise=False, seed=1)
    space = Space({"model.ensemble_size": Choices(("auto", 1, 2)), "model.dim": Choices((8, 10))})
    space = space.around(config)
    return Search(config, space, parts.train, parts.validation, validator, study, tmp_path / "scores")


def test_budgets_count_finished_trials() -> None:
    trials = [Trial(n, s, 0.5, {}, 60.0, 3) for n, s in enumerate(["complete", "failed", "pruned"])]
    assert Budget.of(None, None) == Budget(50, None)
    assert Budget.of(None, 3.0).trials is None
    assert Budget(3, None).spent(trials) is None
    assert Budget(2, None).spent(trials) == "2 trials"
    assert Budget(9, 2.5).spent(trials) is None
    assert Budget(9, 2.5).seconds_left(trials) == 30.0
    assert Budget(9, 2.0).spent(trials) == "2 min"
    assert Budget(9, 2.0).spent([]) is None  # the first trial always runs


def test_the_time_limit_stops_any_trial_but_the_first(search: Search) -> None:
    class Moment(Budget):
        def seconds_left(self, trials) -> float:
            return 0.0

        def spent(self, trials) -> str | None:
            return None

    assert search.run(Moment(None, 1.0), Watcher()) == "1 min"
    assert [(t.state, t.note) for t in search.study.trials()] == [
        ("complete", ""),
        ("failed", "out of time"),
    ]


def test_an_unpromising_trial_is_stopped_early(search: Search, monkeypatch) -> None:
    monkeypatch.setattr(Study, "hopeless", lambda self, number, epoch, value: number > 0 and epoch == 2)
    search.run(Budget(3, None), Watcher())
    states = [(trial.state, trial.note) for trial in search.study.trials()]
    assert states[0] == ("complete", "")
    assert states[1][0] == "pruned"
    assert "most other trials were better at epoch 2" in states[1][1]
    assert search.totals().shape == (1, len(search.validator.counts))


def test_a_trial_of_several_kinds_is_not_stopped_by_an_epoch_of_one(
    config: Config, parts: Parts, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Study, "hopeless", lambda self, number, epoch, value: True)
    given = Config(
        data=config.data,
        schema=config.schema_,
        model=AutoConfig(dim=8, candidates=("item_item", "linear")),
        positive={"threshold": 3.0},
    )
    validator = validator_of(given, parts, PositiveRule.fit(parts.train, given.positive))
    space = Space({"model.dim": Choices((8, 12))}).around(given)
    found = replace(search, given=given, space=space, validator=validator)
    found.run(Budget(1, None), Watcher())
    assert [trial.state for trial in found.study.trials()] == ["complete"]


def test_what_cannot_be_trained_counts_as_bad_and_ends_nothing(search: Search, monkeypatch) -> None:
    fit, fitted = TwoTower.fit, []

    def diverges(self, *args: Any, **kwargs: Any) -> Any:
        fitted.append(self)
        if len(fitted) == 2:
            raise TrainingError("the loss must stay finite")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(searching_module.TwoTower, "fit", diverges)
    search.run(Budget(8, None), Watcher())
    notes = [trial.note for trial in search.study.trials() if trial.state == "pruned"]
    assert any("the loss must stay finite" in note for note in notes)
    assert all("finite" in note or "same values as trial" in note for note in notes)


def test_values_that_do_not_go_together_are_a_bad_trial(search: Search, monkeypatch) -> None:
    ask = Study.ask

    def asked(self, *args: Any) -> tuple[int, dict[str, Any]]:
        number, values = ask(self, *args)
        return number, {"model.ensemble_size": 4, "model.dim": 10} if number else values

    monkeypatch.setattr(Study, "ask", asked)
    search.run(Budget(2, None), Watcher())
    trial = search.study.trials()[1]
    assert trial.state == "pruned"
    assert "multiple of ensemble_size" in trial.note


def test_the_given_config_must_train(search: Search, monkeypatch) -> None:
    def diverges(*args: Any, **kwargs: Any) -> None:
        raise TrainingError("the loss must stay finite")

    monkeypatch.setattr(searching_module.TwoTower, "fit", diverges)
    with pytest.raises(TrainingError, match="must stay finite"):
        search.run(Budget(8, None), Watcher())


def test_missing_scores_and_scores_of_other_data(search: Search) -> None:
    search.run(Budget(2, None), Watcher())
    first = search.scores / "trial-00000.npy"
    np.save(first, np.ones(3))
    with pytest.raises(BundleError, match="The data has changed"):
        search.totals()
    first.unlink()
    with pytest.raises(BundleError, match="could not read the scores of trial 0"):
        search.totals()


def test_a_tuning_goes_on_with_its_own_data(folder, config, monkeypatch) -> None:
    out = folder / "grown"
    with pytest.raises(Interrupted):
        tune(config, out, trials=3, watcher=Stops(1))
    load = tuning_module.load_parts

    def shorter(*args: Any, **kwargs: Any) -> Parts:
        found = load(*args, **kwargs)
        return Parts(found.train, found.validation, found.test.with_interactions(found.test.interactions[:9]))

    monkeypatch.setattr(tuning_module, "load_parts", shorter)
    with pytest.raises(DataError, match="resumed with the data it was started with"):
        tune(config, out, trials=3, resume=True)


def test_the_result_is_what_the_file_says(tuned, folder: Path) -> None:
    assert json.loads((folder / "tuned" / "tune.json").read_text()) == tuned
