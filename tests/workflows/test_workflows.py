"""Runs: what is in one, what may be written over it, and what a break or a full disk leaves behind."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numba import njit

from small_tables import CONFIG, write_tables
from twotower import workflows
from twotower.baselines import Popularity
from twotower.config import Config, load_config
from twotower.config.schema import Schema
from twotower.core.atomic import replacing, write_text
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts, parts_of
from twotower.datasets.synthetic import write_kuairec
from twotower.errors import BundleError, ConfigError, DataError, TwoTowerError, TwoTowerWarning
from twotower.evaluation import RatingComparison
from twotower.recommender import bundle as bundle_module
from twotower.training import Callback, HistoryFile, Interrupted, read_history
from twotower.workflows import Run, load_parts, recommend_all, score_file, train
from twotower.workflows.stages import FitClock, Stages


@pytest.fixture(scope="module")
def finished(folder: Path, config: Config) -> workflows.RunResult:
    return train(config, folder / "run")


def changed(config: Config, section: str, **values: Any) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def content(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


# What a run holds


def test_what_a_run_holds(finished: workflows.RunResult, config: Config) -> None:
    run = finished.run
    names = {path.name for path in run.path.iterdir()}
    assert names == {"config.toml", "bundle", "checkpoints", "history.jsonl", "metrics.json"}
    assert run.config() == config
    metrics = json.loads(run.metrics_file.read_text())
    assert {"mae", "rmse", "r2"} <= set(metrics["rating"])
    for interval in metrics["rating"].values():
        assert interval["low"] <= interval["value"] <= interval["high"]
    assert metrics["data"]["rows"] == {"train": 480, "validation": 60, "test": 60}
    assert set(metrics["seconds"]) - {"compile"} == {"read", "split", "encode", "train", "evaluate", "save"}
    assert all(seconds >= 0 for seconds in metrics["seconds"].values())
    assert 1 <= metrics["validation"]["epoch"] <= 3
    assert metrics["validation"]["rmse"] > 0


def test_history_has_a_line_an_epoch(finished: workflows.RunResult) -> None:
    records = read_history(finished.run.history_file)
    assert records == finished.recommender.history
    assert [r["epoch"] for r in records if r["phase"] == "train"] == [1, 2, 3]
    best = finished.metrics["validation"]["epoch"]
    assert [r["epoch"] for r in records if r["phase"] == "refit"] == list(range(1, best + 1))


def test_evaluating_again_gives_the_same_numbers(finished: workflows.RunResult) -> None:
    report = workflows.evaluate(finished.run.path)
    assert report["rating"] == finished.metrics["rating"]
    assert report["slices"] == finished.metrics["slices"]
    assert report["ranking"] == finished.metrics["ranking"]


def test_the_same_seed_gives_the_same_run(
    finished: workflows.RunResult, config: Config, tmp_path: Path
) -> None:
    again = train(config, tmp_path / "run")
    assert again.metrics["rating"] == finished.metrics["rating"]


def test_evaluating_on_changed_values_is_refused(tmp_path: Path) -> None:
    config = load_config(write_tables(tmp_path), ["training.epochs=1"])
    train(config, tmp_path / "run")
    workflows.evaluate(tmp_path / "run")
    events = pl.read_csv(tmp_path / "events.csv")
    events[[1, 0, *range(2, len(events))]].write_csv(tmp_path / "events.csv")
    with pytest.raises(DataError, match=r"values.*have changed.*restore the files"):
        workflows.evaluate(tmp_path / "run")


def test_a_table_that_was_read_is_not_written_over(tmp_path: Path) -> None:
    config = load_config(write_tables(tmp_path), ["training.epochs=1"])
    run = train(config, tmp_path / "run").run
    with pytest.raises(ConfigError, match="must not be a table that the run was made from"):
        run.check_output(tmp_path / "x" / ".." / "events.csv")
    run.check_output(tmp_path / "recommended.csv")
    pairs = tmp_path / "pairs.csv"
    pl.DataFrame({"person": [1], "film": [2]}).write_csv(pairs)
    before = pairs.read_bytes()
    with pytest.raises(ConfigError, match="must not be the table of pairs"):
        score_file(run.recommender(), pairs, pairs)
    assert pairs.read_bytes() == before


def test_evaluating_on_other_data_is_refused(tmp_path: Path) -> None:
    config = load_config(write_tables(tmp_path), ["training.epochs=1"])
    train(config, tmp_path / "run")
    events = pl.read_csv(tmp_path / "events.csv")
    events.head(500).write_csv(tmp_path / "events.csv")
    with pytest.raises(DataError, match=r"had train 480.*now there are train 400.*restore the files"):
        workflows.evaluate(tmp_path / "run")


# Reading


def test_parts_of_the_sample() -> None:
    lines: list[str] = []
    parts = load_parts(load_config("kuairec-sample"), log=lines.append)
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [93_691, 11_711, 11_711]
    assert "train 93,691" in lines[-1]


def test_parts_of_kuairec_files(tmp_path: Path) -> None:
    write_kuairec(tmp_path, scale=0.001, seed=0)
    config = load_config("kuairec", [f"data.dir={tmp_path}"])
    parts = load_parts(config)
    big = pl.scan_csv(tmp_path / "big_matrix.csv")
    distinct = big.select("user_id", "video_id", "timestamp").unique().select(pl.len()).collect().item()
    assert len(parts.train) + len(parts.validation) == distinct
    times = [part.interactions.get_column("timestamp") for part in (parts.train, parts.validation)]
    assert times[0].max() < times[1].min()  # type: ignore[operator]
    assert any("duplicate" in note for note in parts.train.notes)
    assert parts.test.interactions.get_column("timestamp").null_count() > 0
    whole = load_parts(
        config.model_copy(update={"split": load_config("kuairec-sample").split})
    )  # a random split of the big matrix
    assert sum(map(len, (whole.train, whole.validation, whole.test))) == distinct


@pytest.mark.parametrize("validation", ["valid.csv", "0.25"])
def test_parts_of_table_files(tmp_path: Path, validation: str) -> None:
    write_tables(tmp_path)
    events = pl.read_csv(tmp_path / "events.csv")
    for name, rows in (("train", events[:400]), ("valid", events[400:500]), ("test", events[500:])):
        rows.write_csv(tmp_path / f"{name}.csv")
    text = CONFIG.replace('interactions = "events.csv"\n', "")
    text += '[split]\nmethod = "files"\ntrain = "train.csv"\ntest = "test.csv"\n'
    text += f"validation = {validation}\n" if validation == "0.25" else f'validation = "{validation}"\n'
    (tmp_path / "config.toml").write_text(text)
    parts = load_parts(load_config(tmp_path / "config.toml"))
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == (
        [300, 100, 100] if validation == "0.25" else [400, 100, 100]
    )
    # no timestamp of train is later than the earliest of validation
    assert parts.train.interactions["at"].max() < parts.validation.interactions["at"].min()  # type: ignore[operator]


@pytest.mark.parametrize(
    "method", ["random", "per_user", "temporal", "leave_last", "cold_items", "cold_users"]
)
def test_every_method_leaves_three_parts(config: Config, method: str) -> None:
    parts = load_parts(changed(config, "split", method=method))
    assert min(map(len, (parts.train, parts.validation, parts.test))) > 0


# What may be written where


def test_a_finished_run_is_not_overwritten(finished: workflows.RunResult, config: Config) -> None:
    before = content(finished.run.path)
    with pytest.raises(ConfigError, match=r"contains a finished run.*choose another --out or delete it"):
        train(config, finished.run.path)
    assert content(finished.run.path) == before


def test_resuming_a_finished_run_gives_it_back(finished: workflows.RunResult, config: Config) -> None:
    before = content(finished.run.path)
    assert train(config, finished.run.path, resume=True).metrics == finished.metrics
    assert content(finished.run.path) == before


def test_resuming_with_another_config_names_the_difference(
    finished: workflows.RunResult, config: Config
) -> None:
    other = changed(config, "training", epochs=9)
    with pytest.raises(
        ConfigError, match=r"resumed with the config it was started with.*training\.epochs: 9, 3"
    ):
        train(other, finished.run.path, resume=True)


def test_resuming_what_is_not_there(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run to resume in"):
        train(config, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_out_must_be_a_directory_of_its_own(config: Config, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"must be a new or empty directory.*thesis\.tex"):
        train(config, tmp_path)
    with pytest.raises(ConfigError, match="is a file; choose another"):
        train(config, tmp_path / "thesis.tex")


def test_wrong_data_leaves_no_directory(tmp_path: Path) -> None:
    config = load_config(write_tables(tmp_path), ["data.users=nowhere.csv"])
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_runs_that_are_not_there_or_not_finished(finished: workflows.RunResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no run in .*\. Did you mean 'run'\? Make one with"):
        Run.finished(finished.run.path.with_name("runs"))
    run = Run(tmp_path / "begun")
    run.begin(finished.run.config())
    with pytest.raises(ConfigError, match=r"is not finished; resume it with .*--resume"):
        Run.finished(run.path)


# Breaks


class Breaking(Callback):
    """Presses Ctrl-C after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def on_epoch_end(self, record: dict[str, Any]) -> None:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epochs", [0, 1, 2, 4])
def test_a_resumed_run_is_the_unbroken_one(
    epochs: int, finished: workflows.RunResult, config: Config, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    if epochs >= len(finished.recommender.history):
        pytest.skip("the run has fewer epochs")
    with pytest.raises(Interrupted, match="continue with --resume"):
        train(config, out, callbacks=[Breaking(epochs)])
    assert not Run(out).metrics_file.exists()
    if epochs:
        with pytest.raises(ConfigError, match=r"unfinished run; continue it with --resume"):
            train(config, out)
    result = train(config, out, resume=True)
    assert result.metrics["rating"] == finished.metrics["rating"]

    def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in r.items() if k not in ("seconds", "pairs_per_second")} for r in records]

    expected = timeless(finished.recommender.history)
    assert timeless(read_history(result.run.history_file)) == expected


def test_a_run_without_an_epoch_may_be_started_again(config: Config, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(config, tmp_path / "run", callbacks=[Breaking(0)])
    assert train(config, tmp_path / "run").run.state() == "finished"


def test_a_broken_comparison_or_demonstration_says_what_to_do(config: Config, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="interrupted; a comparison saves nothing; run it again"):
        workflows.compare(config, callbacks=[Breaking(1)])
    with pytest.raises(Interrupted, match="interrupted; run it again"):
        workflows.demo(
            tmp_path / "demo",
            overrides=("model.dim=8", "model.kind=mlp", "model.hidden=[8]"),
            callbacks=[Breaking(0)],
        )
    assert not (tmp_path / "demo").exists()


def test_history_drops_the_lines_past_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    lines = [{"phase": "train", "epoch": n} for n in (1, 2, 3)] + [{"phase": "refit", "epoch": 1}]
    torn = "".join(json.dumps(line) + "\n" for line in lines) + '{"phase": "refit", "ep'
    path.write_text(torn)
    HistoryFile(path).on_phase_start(phase="refit", epochs=5, first_epoch=2, pairs=1)
    assert read_history(path) == lines
    HistoryFile(path).on_phase_start(phase="train", epochs=5, first_epoch=3, pairs=1)
    assert read_history(path) == lines[:2]
    HistoryFile(path).on_epoch_end({"phase": "train", "epoch": 3})
    assert read_history(path) == lines[:3]
    HistoryFile(path).on_phase_start(phase="train", epochs=5, first_epoch=1, pairs=1)
    assert read_history(path) == []


def test_the_clock_divides_a_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 2.0, 5.0, 6.0, 10.0, 11.0])
    monkeypatch.setattr("twotower.workflows.stages.time.perf_counter", lambda: next(times))
    stages = Stages()
    clock = FitClock(stages)
    for _ in ("train", "refit"):
        clock.on_phase_start(phase="train", epochs=1, first_epoch=1, pairs=1)
        clock.on_phase_end(reason="all epochs")
    clock.lap("encode")
    assert stages.seconds == {"encode": 2.0 + 1.0 + 1.0, "train": 3.0 + 4.0}


def test_compiling_is_told_apart_from_the_stage_that_needs_it() -> None:
    stages = Stages()
    with stages("first"):
        compiled = njit(lambda x: x + 1)
        assert compiled(1) == 2
    assert stages.seconds["compile"] > 0
    assert stages.seconds["first"] >= 0
    first = dict(stages.seconds)
    with stages("second"):
        assert compiled(2) == 3  # compiled once
    assert stages.seconds["compile"] == first["compile"]


# Full disks


def full(*args: object, **kwargs: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.json"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match=r"could not write .*metrics\.json: No space left on device"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_an_error_in_the_block_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert content(tmp_path) == {"table.csv": b"old"}


@pytest.mark.parametrize("where", ["bundle", "metrics", "history"])
def test_a_full_disk_at_the_end_can_be_resumed_from(
    where: str,
    config: Config,
    finished: workflows.RunResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, out = changed(config, "training", epochs=1), tmp_path / "run"
    with monkeypatch.context() as patch:
        if where == "bundle":
            patch.setattr(bundle_module, "_save", full)
        elif where == "metrics":
            patch.setattr(Run, "write_metrics", lambda run, metrics: write_text(run.path / "no" / "m", ""))
        else:
            patch.setattr(
                "twotower.workflows.training.write_history", lambda path, _: write_text(path / "no", "")
            )
        with pytest.raises(TwoTowerError, match="could not write"):
            train(config, out)
    assert Run(out).state() == "begun"
    assert not [p for p in out.rglob("*") if p.name.startswith(".")]
    assert train(config, out, resume=True).run.state() == "finished"
    assert finished.run.state() == "finished"


# Batch work


def test_recommendations_for_everyone(finished: workflows.RunResult, tmp_path: Path) -> None:
    recommender, seen = finished.recommender, []
    out = tmp_path / "recs.parquet"
    rows = recommend_all(recommender, out, 5, progress=lambda done, total: seen.append((done, total)))
    table = pl.read_parquet(out)
    assert table.columns == ["user_id", "item_id", "rank", "score"]
    assert table.height == rows == 40 * 5
    one = recommender.recommend([7], k=5)
    mine = table.filter(pl.col("user_id") == 7)
    assert mine["item_id"].to_list() == one["film"].to_list()
    assert mine["rank"].to_list() == [1, 2, 3, 4, 5]
    assert seen[-1] == (40, 40)
    recommend_all(recommender, tmp_path / "recs.csv", 5)
    assert pl.read_csv(tmp_path / "recs.csv")["item_id"].to_list() == table["item_id"].to_list()


def test_recommendations_come_in_blocks(
    finished: workflows.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommend_all(finished.recommender, tmp_path / "one.parquet", 3)
    monkeypatch.setattr("twotower.recommender.recommender.USERS_AT_ONCE", 7)
    recommend_all(finished.recommender, tmp_path / "many.parquet", 3)
    assert pl.read_parquet(tmp_path / "many.parquet").equals(pl.read_parquet(tmp_path / "one.parquet"))


@pytest.mark.parametrize("k", [0, -1])
def test_an_impossible_k_writes_nothing(finished: workflows.RunResult, tmp_path: Path, k: int) -> None:
    with pytest.raises(ConfigError, match="k must be at least 1"):
        recommend_all(finished.recommender, tmp_path / "recs.parquet", k)
    assert not list(tmp_path.iterdir())


def test_outputs_have_a_known_suffix_and_a_folder(finished: workflows.RunResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.parquet or \.csv"):
        recommend_all(finished.recommender, tmp_path / "recs.xlsx", 3)
    with pytest.raises(ConfigError, match="in a folder that exists"):
        recommend_all(finished.recommender, tmp_path / "no" / "recs.csv", 3)


def test_a_broken_batch_leaves_the_earlier_file(
    finished: workflows.RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "recs.parquet"
    out.write_bytes(b"old")
    monkeypatch.setattr("twotower.recommender.recommender.USERS_AT_ONCE", 7)

    def stop(done: int, total: int) -> None:
        if done > 20:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(BundleError, match=r"recs\.parquet: No space left"):
        recommend_all(finished.recommender, out, 3, progress=stop)
    assert content(tmp_path) == {"recs.parquet": b"old"}


def test_scores_are_the_predictions(finished: workflows.RunResult, config: Config, tmp_path: Path) -> None:
    parts: Parts = load_parts(config)
    pairs = parts.test.interactions.select("film", "person", note=pl.lit("kept"))
    pairs.write_csv(tmp_path / "pairs.csv")
    done = score_file(finished.recommender, tmp_path / "pairs.csv", tmp_path / "out.parquet")
    assert done.as_dict() == {"rows": 60, "unknown": 0, "column": "prediction"}
    scored = pl.read_parquet(tmp_path / "out.parquet")
    assert scored.columns == ["film", "person", "note", "prediction"]
    np.testing.assert_allclose(scored["prediction"], finished.recommender.predict(parts.test), rtol=1e-6)


def test_pairs_that_are_wrong(finished: workflows.RunResult, tmp_path: Path) -> None:
    pl.DataFrame({"person": [1], "movie": [2]}).write_csv(tmp_path / "column.csv")
    pl.DataFrame({"person": [1, 999], "film": [2, 3]}).write_csv(tmp_path / "unknown.csv")
    for name, said in (("column.csv", "film"), ("unknown.csv", "999"), ("nowhere.csv", "nowhere")):
        with pytest.raises(DataError, match=said):
            score_file(finished.recommender, tmp_path / name, tmp_path / "out.csv", strict=True)
    assert not (tmp_path / "out.csv").exists()
    with pytest.warns(TwoTowerWarning, match="1 of 2 pairs"):
        done = score_file(finished.recommender, tmp_path / "unknown.csv", tmp_path / "out.csv")
    assert (done.rows, done.unknown) == (2, 1)
    assert pl.read_csv(tmp_path / "out.csv")["prediction"].is_null().to_list() == [False, True]


# Comparison and demonstration


def test_a_comparison_has_every_baseline(config: Config) -> None:
    lines: list[str] = []
    compared = workflows.compare(changed(config, "training", epochs=2), log=lines.append)
    comparison = compared.comparison
    from twotower.baselines import BASELINES

    assert list(comparison.models) == ["two-tower", *BASELINES]
    assert set(comparison.differences) == set(BASELINES)
    assert isinstance(comparison, RatingComparison)
    assert comparison.rows == 60
    json.dumps(compared.as_dict(), allow_nan=False)
    assert "biases (2 of 3): fitting" in lines


def predicted(config: Config, parts: Parts) -> dict[str, Any]:
    """Return what each model of a comparison predicts for the test set, after one epoch of ours."""
    import twotower.workflows.comparing as module

    seen: dict[str, Any] = {}
    real = module.compare_ratings

    def spy(predictions: Any, *args: Any, **kwargs: Any) -> Any:
        seen.update(predictions)
        return real(predictions, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "compare_ratings", spy)
        short = changed(config, "training", epochs=1)
        model = workflows.training.fit(short, parts, stages=Stages(), callbacks=[])
        workflows.compare_predictors(config, model, parts)
    return seen


@pytest.mark.parametrize("refit", [True, False])
def test_baselines_learn_from_what_ours_learns_from(config: Config, refit: bool) -> None:
    parts = load_parts(config)
    label = parts.train.schema.label
    assert label is not None
    learnt = [part.interactions[label] for part in (parts.train, parts.validation)]
    wanted = pl.concat(learnt if refit else learnt[:1]).mean()
    found = predicted(changed(config, "training", refit=refit), parts)
    assert found["mean"] == pytest.approx(wanted)


def test_parts_of_files_that_differ_in_what_has_no_role_are_put_together() -> None:
    schema = Schema(label="label")
    train = pl.DataFrame({"user_id": [1, 2], "item_id": [1, 2], "label": [1, 2], "note": ["a", "b"]})
    other = pl.DataFrame({"item_id": [1], "user_id": [2], "note": [[3]], "label": [0.5]})
    test, validation = other.with_columns(item_id=3), other
    given = [Dataset.of(rows, schema=schema) for rows in (train, test, validation)]
    parts = parts_of(given[0], given[1], given[2])
    everything = parts.train.joined(parts.validation)
    assert everything.interactions.columns == ["user_id", "item_id", "label"]
    assert sorted(everything.interactions.rows()) == [(1, 1, 1.0), (2, 1, 0.5), (2, 2, 2.0)]


def test_baselines_are_capped_where_ours_is(config: Config) -> None:
    capped = changed(config, "objective", transform="cap", cap=3.0)
    seen = predicted(capped, load_parts(capped))
    assert max(float(np.max(values)) for values in seen.values()) <= 3.0 + 1e-9


def test_the_demonstration_replaces_its_own_run_only(tmp_path: Path, config: Config) -> None:
    quick = (
        "training.epochs=1",
        "model.dim=8",
        "model.kind=mlp",
        "model.hidden=[8]",
        "evaluation.resamples=100",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twotower.workflows.comparing.BASELINES", {})
        patch.setattr("twotower.workflows.demonstration.RANKING_BASELINES", {"popularity": Popularity})
        first = workflows.demo(tmp_path / "demo", overrides=quick)
        again = workflows.demo(tmp_path / "demo", overrides=quick)
    assert first.metrics["ranking"] == again.metrics["ranking"] != {}
    assert set(again.ranking.comparison.models) == {"two-tower", "popularity"}
    assert set(again.rating.comparison.models) == {"two-tower"}
    assert again.run.config().objective.implicit
    assert again.recommendations.height == 10
    assert "caption" in again.recommendations.columns
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    other = train(changed(config, "training", epochs=1), tmp_path / "mine")
    before = content(other.run.path)
    with pytest.raises(ConfigError, match="contains a finished run"):
        workflows.demo(tmp_path / "mine", overrides=quick)
    assert content(other.run.path) == before
