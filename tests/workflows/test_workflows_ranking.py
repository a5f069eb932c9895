"""Runs and comparisons of models that are trained to rank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from small_tables import write_tables
from twotower import workflows
from twotower.baselines import EASE, RANKING_BASELINES, Popularity
from twotower.baselines.feedback import Feedback
from twotower.config import Config, load_config, with_values
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import Parts
from twotower.errors import DataError
from twotower.evaluation import evaluate_ranking
from twotower.evaluation.ranker import RankRequest
from twotower.recommender import Recommender
from twotower.workflows import load_parts, train
from twotower.workflows.stages import Stages

CPU = torch.device("cpu")
RANKING = ["objective.name=all_pairs", "positive.threshold=3.5", "split.method=per_user", "split.test=0.2"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return load_config(write_tables(tmp_path_factory.mktemp("ranked")), RANKING)


@pytest.fixture(scope="module")
def finished(config: Config, tmp_path_factory: pytest.TempPathFactory) -> workflows.RunResult:
    return train(config, tmp_path_factory.mktemp("runs") / "run")


def changed(config: Config, section: str, **values: Any) -> Config:
    return with_values(config, {f"{section}.{name}": value for name, value in values.items()}, "test")


def positives(part: Dataset) -> Dataset:
    return part.with_interactions(part.interactions.filter(pl.col("stars") >= 3.5))


def test_a_run_that_ranks_holds_ranking_metrics_alone(finished: workflows.RunResult, config: Config) -> None:
    metrics = json.loads(finished.run.metrics_file.read_text())
    assert metrics["rating"] == {}
    assert {f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in (10, 20, 100)} <= set(
        metrics["ranking"]
    )
    assert set(metrics["validation"]) == {"epoch", "ndcg@100", "recall@20", "popularity_ndcg@100"}
    parts = load_parts(config)
    ours = evaluate_ranking(
        finished.recommender,
        positives(parts.test),
        parts.train.joined(parts.validation),
        resamples=100,
        seed=config.seed,
    )
    assert metrics["ranking"] == ours.as_dict()["metrics"]
    assert metrics["ranked"]["positives"] == ours.positives > 0
    assert {"user", "item", "item_popularity"} <= set(metrics["slices"]["ranking"])


def test_evaluating_it_again_gives_the_same(finished: workflows.RunResult) -> None:
    report = workflows.evaluate(finished.run.path)
    assert report == {name: finished.metrics[name] for name in report}


def test_the_python_way_gives_the_same(finished: workflows.RunResult, config: Config) -> None:
    found = finished.recommender.evaluate(load_parts(config).test, resamples=100, seed=config.seed)
    assert found.rating is None
    assert {name: of.as_dict() for name, of in found.metrics.items()} == finished.metrics["ranking"]


def test_cut_offs_and_candidates_are_the_config_s(config: Config, tmp_path: Path) -> None:
    config = changed(changed(config, "training", epochs=1), "evaluation", ks=(2, 4), candidates="test_pairs")
    metrics = train(config, tmp_path / "run").metrics
    assert {name.split("@")[1] for name in metrics["ranking"]} == {"2", "4"}
    # everybody's candidates are the test rows, so all positives are found once lists are long enough
    longest = int(load_parts(config).test.interactions.group_by("person").len()["len"].max())  # type: ignore[arg-type]
    config = changed(config, "evaluation", ks=(longest,))
    metrics = train(config, tmp_path / "long").metrics
    assert metrics["ranking"][f"recall@{longest}"]["value"] == 1.0


def test_a_rating_model_ranks_too_unless_told_not_to(config: Config, tmp_path: Path) -> None:
    config = changed(changed(config, "objective", name="squared"), "training", epochs=1)
    metrics = train(config, tmp_path / "both").metrics
    assert metrics["rating"]["mae"]["value"] > 0
    assert metrics["ranking"]["ndcg@10"]["value"] > 0
    metrics = train(changed(config, "evaluation", ranking=False), tmp_path / "one").metrics
    assert metrics["rating"]["mae"]["value"] > 0
    assert metrics["ranking"] == {}


def test_without_positives_nothing_is_trained(config: Config, tmp_path: Path) -> None:
    none = changed(config, "positive", threshold=50.0)
    for work in (lambda: train(none, tmp_path / "run"), lambda: workflows.compare(none)):
        with pytest.raises(
            DataError,
            match=r"training set: there must be at least one positive \(a label of at least 50\); "
            r"got none in 360 interactions\. Labels range from .*, with median .* and 90% quantile ",
        ):
            work()
    assert not (tmp_path / "run").exists()


def test_a_part_without_positives_is_named(config: Config, tmp_path: Path) -> None:
    events = pl.read_csv(Path(str(config.data.interactions)))
    rows = {"train": events[:400], "validation": events[400:500], "test": events[500:]}
    rows["test"] = rows["test"].with_columns(stars=pl.lit(1.0))
    for name, part in rows.items():
        part.write_csv(tmp_path / f"{name}.csv")
    paths = {name: str(tmp_path / f"{name}.csv") for name in rows}
    split = config.split.model_copy(update={"method": "files", **paths})
    data = config.data.model_copy(update={"interactions": None})
    files = config.model_copy(update={"data": data, "split": split})
    with pytest.raises(DataError, match=r"test set: .*got none in 100 interactions.* from 1 to 1,"):
        train(files, tmp_path / "run")
    rating = changed(changed(files, "objective", name="squared"), "training", epochs=1)
    lines: list[str] = []
    metrics = train(rating, tmp_path / "run", log=lines.append).metrics
    assert metrics["ranking"] == {}
    assert "ranking was not measured: there must be at least one positive" in metrics["notes"][0]
    assert f"note: {metrics['notes'][0]}" in lines


class Told(Popularity):
    """Keeps what it was fitted on and asked."""

    name = "told"
    fitted: list[Feedback] = []  # noqa: RUF012
    asked: list[RankRequest] = []  # noqa: RUF012

    def _fit(self, feedback: Feedback, seed: int) -> None:
        self.fitted.append(feedback)
        super()._fit(feedback, seed)

    def rank(self, queries: RankRequest, k: int) -> Any:
        self.asked.append(queries)
        return super().rank(queries, k)


def short_fit(config: Config, parts: Parts) -> Recommender:
    return workflows.training.fit(changed(config, "training", epochs=1), parts, stages=Stages(), callbacks=[])


def barred(queries: RankRequest) -> set[tuple[int, int]]:
    lists = queries.barred
    return set(zip(queries.users.gather(lists.owners()), queries.items.gather(lists.values), strict=True))


def pairs(*parts: Dataset) -> set[tuple[int, int]]:
    return {pair for part in parts for pair in part.interactions.select("person", "film").rows()}


def known(feedback: Feedback) -> dict[tuple[int, int], float]:
    """Return each pair and its grade."""
    entries = feedback.matrix.tocoo()
    users, items = feedback.users.ids.gather(entries.row), feedback.items.ids.gather(entries.col)
    return dict(zip(zip(users, items, strict=True), entries.data.tolist(), strict=True))


def graded(train: Dataset, *parts: Dataset) -> dict[tuple[int, int], float]:
    """Return the grade of each pair: .2 + .8 of the mean rank of its label among those of train."""
    label = np.sort(train.interactions["stars"].to_numpy())
    found: dict[tuple[int, int], float] = {}
    for user, item, stars in (row for part in parts for row in rows_of(part)):
        below, upto = np.searchsorted(label, stars, "left"), np.searchsorted(label, stars, "right")
        rank = min(max((below + upto - 1) / 2 / (len(label) - 1), 0.0), 1.0)
        found[user, item] = max(found.get((user, item), 0.0), 0.2 + 0.8 * rank)
    return found


def rows_of(part: Dataset) -> list[tuple[int, int, float]]:
    return part.interactions.select("person", "film", "stars").rows()


@pytest.mark.parametrize("better", ["grades", "positives alone"])
@pytest.mark.parametrize("refit", [True, False])
def test_baselines_learn_what_is_better_on_validation_and_bar_everything_seen(
    config: Config, refit: bool, better: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import twotower.workflows.tuned_baselines as module

    config = changed(config, "training", refit=refit)
    parts = load_parts(config)
    model = short_fit(config, parts)
    Told.fitted, Told.asked = [], []
    judge = module._Told.__call__

    def judged(self: Any, ranker: Any) -> float:
        value = judge(self, ranker)  # so that it is asked
        assert 0 <= value <= 1
        return float(ranker.feedback.graded is (better == "grades")) - 0.1 * abs(ranker.power - 2.0)

    monkeypatch.setattr(module._Told, "__call__", judged)
    with RANKING_BASELINES.temporarily(told=Told):
        found = workflows.compare_rankers(config, model, parts, baselines=["told"])
    *tried, last = Told.fitted
    assert [one.graded for one in tried] == [False, *[True] * (len(tried) - 1)]
    assert known(tried[0]) == dict.fromkeys(pairs(positives(parts.train)), 1.0)
    first = tried[1]  # with a power of 1
    assert known(first) == pytest.approx(graded(parts.train, parts.train), abs=0.01)
    learnt = [parts.train, parts.validation] if refit else [parts.train]
    assert isinstance(last.train, TrainPart)
    if better == "grades":
        expected = {pair: grade**2 for pair, grade in graded(parts.train, *learnt).items()}
        assert known(last) == pytest.approx(expected, abs=0.03)
    else:
        assert known(last) == dict.fromkeys(pairs(*map(positives, learnt)), 1.0)
    on_validation, on_test = Told.asked[0], Told.asked[-1]
    for asked, part, seen in (
        (on_validation, parts.validation, [parts.train]),
        (on_test, parts.test, learnt),
    ):
        assert set(asked.users) == {user for user, _ in pairs(positives(part))}
        assert barred(asked) == {pair for pair in pairs(*seen) if pair[0] in set(asked.users)}
    report = found.as_dict()
    assert report["given"] == {"two-tower": "grades, features", "told": better}
    assert report["settings"] == {"told": {"power": 2.0} if better == "grades" else {}}
    assert set(report["validation"]["told"]) == {"grades", "positives alone"}
    assert max(report["validation"]["told"], key=report["validation"]["told"].get) == better
    assert set(report["differences"]) == {"told"}


def test_the_grades_are_those_that_all_pairs_learns(config: Config) -> None:
    """One function makes them both; the floor is the objective's, or its default for objectives without."""
    from twotower.estimator import TwoTower
    from twotower.estimator.setup import prepare

    floor = changed(config, "objective", min_grade=0.4)
    parts = load_parts(config)
    rule = short_fit(config, parts).positive
    for of, least in ((config, 0.2), (floor, 0.4), (changed(config, "objective", name="bpr"), 0.2)):
        rows = workflows.tuned_baselines.Fitting(of, parts, rule, print).train["grades"]
        assert rows.grades is not None
        assert rows.grades.min() == pytest.approx(least, abs=0.15)
        assert rows.grades.max() <= 1.0
        if of.objective.name == "all_pairs":
            ours = prepare(TwoTower.from_config(of).settings, parts.train, rule, CPU)
            np.testing.assert_allclose(
                np.sort(ours.task.pairs.label), np.sort(rows.grades).astype(np.float32)
            )


def test_without_a_label_there_are_no_grades(config: Config, tmp_path: Path) -> None:
    events = pl.read_csv(Path(str(config.data.interactions))).filter(pl.col("stars") >= 3.5).drop("stars")
    events.write_csv(tmp_path / "events.csv")
    plain = changed(
        changed(config, "data", interactions=str(tmp_path / "events.csv")), "positive", threshold=None
    )
    schema = config.schema_.model_copy(update={"label": None, "users": {}, "items": {}})  # type: ignore[union-attr]
    plain = plain.model_copy(update={"schema_": schema})
    parts = load_parts(plain)
    found = workflows.compare_rankers(
        plain, short_fit(plain, parts), parts, baselines=["EASE", "popularity"]
    ).as_dict()
    assert found["given"] == dict.fromkeys(("two-tower", "EASE", "popularity"), "no grades")
    assert set(found["validation"]["EASE"]) == {"no grades"}


def test_what_rating_models_are_given_is_said(config: Config) -> None:
    rating = changed(changed(config, "objective", name="squared"), "training", epochs=1)
    found = workflows.compare(rating).as_dict()
    assert found["given"] == {
        "two-tower": "labels, ids, features",
        "mean": "labels",
        "biases": "labels, ids",
        "notebook": "labels, features",
    }


def test_every_baseline_is_compared_with_ours(config: Config) -> None:
    lines: list[str] = []
    found = workflows.compare(changed(config, "training", epochs=1), log=lines.append).as_dict()
    names = ["popularity", "item kNN", "RP3beta", "next-item counts", "EASE", "iALS", "BPR"]
    assert list(found["models"]) == ["two-tower", *names]
    assert list(found["differences"]) == list(found["settings"]) == names
    assert found["settings"]["EASE"]["l2"] > 0
    assert set(found["given"].values()) <= {"grades", "positives alone", "grades, features"}
    for name in names:
        worth = found["validation"][name]
        assert found["given"][name] == max(("positives alone", "grades"), key=worth.__getitem__)
    assert "of the test positives are items of the training set" in found["skipped"]["category popularity"]
    assert "these span" in found["skipped"]["recent popularity"]
    assert any(line.startswith("two-tower: ") for line in lines)
    for place, name in enumerate(names, 1):
        assert f"{name} ({place} of 7): tuning" in lines
        assert any(line.startswith(f"{name} ({place} of 7): ") and "settings tried" in line for line in lines)
    gap = found["differences"]["EASE"]["ndcg@10"]
    values = [found["models"][name]["metrics"]["ndcg@10"]["value"] for name in ("EASE", "two-tower")]
    assert gap["value"] == pytest.approx(values[0] - values[1])
    assert gap["low"] <= gap["value"] <= gap["high"]


def test_what_cannot_be_had_is_left_out_with_the_reason(config: Config) -> None:
    plain = config.model_copy(update={"schema_": config.schema_.model_copy(update={"items": {}})})  # type: ignore[union-attr]
    parts = load_parts(plain)
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twotower.baselines.ease.memory", lambda: 2 * 8 * 5**2)
        names = ("popularity", EASE.name, "category popularity")
        found = workflows.compare_rankers(
            plain, short_fit(plain, parts), parts, baselines=names, log=lines.append
        )
    assert list(found.comparison.models) == ["two-tower", "popularity"]
    assert set(found.skipped) == {"EASE", "category popularity"}
    assert "at most 5 items here" in found.skipped["EASE"]
    assert any(line.startswith("EASE (2 of 2): left out, ") for line in lines)
