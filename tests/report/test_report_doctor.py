"""Each ailment is planted in a healthy model and found; the healthy models have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from twotower.audit.finding import Finding
from twotower.config import load_config
from twotower.metrics import Interval
from twotower.report import PROBES, Case, examine
from twotower.report.case import DataState
from twotower.report.doctor import Probe
from twotower.report.doctor.vectors import collapsed
from twotower.report.geometry import Geometry

BY_NAME: dict[str, Probe] = {probe.name: probe for probe in PROBES}


def found(case: Case, name: str) -> list[Finding]:
    return list(BY_NAME[name].run(case))


def changed(case: Case, **sides: np.ndarray) -> Case:
    """Return the case with other vectors of users or items."""
    model = case.recommender
    for which, vectors in sides.items():
        side = replace(getattr(model, which), vectors=vectors.astype(np.float32))
        model = replace(model, catalogue=replace(model.catalogue, **{which: side}))  # type: ignore[arg-type]
    return replace(case, recommender=model)


def latent(case: Case, which: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a copy of a side's vectors by member (n, members, part), and a view of what is no bias."""
    side = getattr(case.recommender, which)
    whole = side.vectors.reshape(len(side.vectors), case.recommender.model.config.n_members, -1).copy()
    return whole, whole[:, :, :-2]


def flat(vectors: np.ndarray) -> np.ndarray:
    return vectors.reshape(len(vectors), -1)


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - {"baselines"}))
def test_healthy_models_have_nothing(rated: Case, ranked: Case, name: str) -> None:
    assert found(rated, name) == []
    assert found(ranked, name) == []


def test_the_healthy_model_that_predicts_has_nothing_at_all(rated: Case) -> None:
    assert examine(rated) == ()


def test_probes_are_told_apart_and_described() -> None:
    assert len(BY_NAME) == len(PROBES)
    assert all(probe.looks_for for probe in PROBES)


def test_other_data(rated: Case) -> None:
    (one,) = found(replace(rated, data=DataState("a" * 64, "b" * 64, 0.31)), "other-data")
    assert (one.severity, "a" * 12 in one.evidence, "31.0%" in one.evidence) == ("error", True, True)
    (one,) = found(replace(rated, data=DataState(None, "b" * 64, 0.02)), "other-data")
    assert one.severity == "error"
    assert "2.0% of the pairs of the test set" in one.evidence
    assert found(replace(rated, data=DataState(None, "b", 0.0)), "other-data") == []


def test_test_rows_that_were_trained_on_are_counted(rated: Case) -> None:
    parts, model = rated.parts, rated.recommender
    rows = parts.test.interactions
    train = parts.train.interactions
    # five rows that the model has, as test rows, and gone from train
    stolen = replace(
        parts,
        test=parts.test.with_interactions(pl.concat([rows, train[:5].select(rows.columns)])),
        train=parts.train.with_interactions(train[5:]).as_train(),
    )
    case = Case.of(rated.config, model, stolen, rated.recorded, baselines="none")
    assert case.data.seen == pytest.approx(5 / (len(rows) + 5))
    assert case.data.changed
    # a film that is seen twice, at two times, is no leak
    again = replace(
        parts, test=parts.test.with_interactions(pl.concat([rows, train[:5].select(rows.columns)]))
    )
    case = Case.of(rated.config, model, again, {}, baselines="none")
    assert case.data.seen == 0.0
    assert found(case, "other-data") == []


@pytest.mark.parametrize("which", ["users", "items"])
def test_collapsed_vectors(rated: Case, which: str) -> None:
    whole, part = latent(rated, which)
    part[:] = part.mean(axis=0)
    (one,) = found(changed(rated, **{which: flat(whole)}), "collapsed-vectors")
    assert one.what == f"the vectors of all {which} are the same"
    whole, part = latent(rated, which)
    along = np.linspace(-1, 1, len(part))
    part[:] = part.mean(axis=0) + along[:, None, None] * part.std(axis=0)
    (one,) = found(changed(rated, **{which: flat(whole)}), "collapsed-vectors")
    assert "collapsed onto a few directions" in one.what
    assert "one direction alone has 100% of the variance" in one.evidence
    assert " model.dim," in one.fix


@pytest.mark.parametrize(("dim", "used", "few"), [(62, 2.4, True), (62, 2.6, False), (510, 8.0, False)])
def test_wide_vectors_may_have_a_few_main_directions(dim: int, used: float, few: bool) -> None:
    sizes = {"first": 0.5, "still": 0, "norms": (1.0, 1.0, 1.0, 1.0), "zeros": 0, "finite": True}
    assert collapsed(Geometry(rows=100, dim=dim, effective_dim=used, **sizes)) is few


def test_places_that_are_the_same_for_everyone(ranked: Case) -> None:
    whole, part = latent(ranked, "items")
    part[:, :, :3] = 0.5
    (one,) = found(changed(ranked, items=flat(whole)), "collapsed-vectors")
    assert (one.severity, one.what[:12]) == ("note", "3 dimensions")
    assert "a smaller model.dim " in one.fix


def test_norms(ranked: Case) -> None:
    whole, part = latent(ranked, "items")
    part[7] *= 1000
    (one,) = found(changed(ranked, items=flat(whole)), "norms")
    assert "far longer" in one.what
    whole, part = latent(ranked, "users")
    part[:20] = 0
    (one,) = found(changed(ranked, users=flat(whole)), "norms")
    assert one.evidence == "20 of 150 vectors of warm users"
    whole, part = latent(ranked, "users")
    part[3, 0, 0] = np.nan
    (one,) = found(changed(ranked, users=flat(whole)), "norms")
    assert one.severity == "error"


@pytest.mark.parametrize("kind", ["rated", "ranked"])
def test_the_same_list_for_everyone(kind: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(kind)
    whole, part = latent(case, "users")
    part[:] = part.mean(axis=0)
    (one,) = found(changed(case, users=flat(whole)), "same-lists")
    assert "nearly all users get the same list" in one.what
    assert "0.0% of the variance of the scores is personal" in one.evidence
    assert ("all_pairs" in one.fix) == (kind == "rated")


def test_one_item_in_most_lists(ranked: Case) -> None:
    whole, _ = latent(ranked, "items")
    whole[11, :, -1] += 100
    (one,) = found(changed(ranked, items=flat(whole)), "same-lists")
    assert one.severity == "note"
    title = ranked.recommender.display.row(11)[1]
    assert f"“{title}" in one.evidence
    assert "” (#11) is in " in one.evidence


@pytest.mark.parametrize(("sign", "said"), [(1, "most popular items"), (-1, "hardly any interactions")])
def test_lists_that_lean(ranked: Case, sign: int, said: str) -> None:
    counts = np.bincount(ranked.recommender.seen.values, minlength=len(ranked.recommender.items.ids))
    whole, _ = latent(ranked, "items")
    whole[:, :, -1] += sign * 0.3 * counts[:, None]
    finding = found(changed(ranked, items=flat(whole)), "popularity-tilt")
    assert [said in one.what for one in finding] == [True]


def test_a_baseline_that_is_better(rated: Case, ranked: Case) -> None:
    for case in (rated, ranked):
        noise = np.random.default_rng(0).normal(size=case.recommender.items.vectors.shape)
        broken = changed(case, items=noise)
        measured = Case.of(broken.config, broken.recommender, broken.parts, {})
        (one,) = found(measured, "baselines")
        assert one.what == f"the baseline {measured.best_baseline} beats the model"
        assert one.severity == "warning"
        assert " model.dim," in one.fix
    assert found(replace(rated, compared=None), "baselines") == []


def test_a_baseline_that_is_as_good(ranked: Case) -> None:
    best = ranked.best_baseline
    assert best is not None
    assert ranked.compared is not None
    comparison = ranked.compared.comparison
    gap = comparison.differences[best][ranked.main]
    around = {**comparison.differences[best], ranked.main: Interval(gap.value, -0.1, 0.1)}
    even = replace(comparison, differences={**comparison.differences, best: around})  # type: ignore[type-var]
    (one,) = found(replace(ranked, compared=replace(ranked.compared, comparison=even)), "baselines")
    assert one.severity == "note"
    assert "not clearly better" in one.what


def scores_changed(case: Case, factor: float = 1.0, shift: float = 0.0) -> Case:
    """Return the case of a model whose predictions lie further from, or nearer to, their mean."""
    whole, _ = latent(case, "users")
    mean = case.recommender.target.mean
    users = flat(whole) * factor
    users[:, -2] += mean * (1 - factor) + shift
    target = replace(case.recommender.target, low=-100.0, high=100.0)
    towers = replace(case.recommender.towers, target=target)
    return changed(replace(case, recommender=replace(case.recommender, towers=towers)), users=users)


def test_predictions(rated: Case) -> None:
    for case, said in (
        (scores_changed(rated, 0.01), "nearly all the same"),
        (scores_changed(rated, 2.0), "spread too much"),
        (scores_changed(rated, 0.5), "spread too little"),
        (scores_changed(rated, shift=0.5), "too high on average"),
        (scores_changed(rated, shift=-0.5), "too low on average"),
    ):
        finding = found(case, "predictions")
        assert [said in one.what for one in finding] == [True], said


def with_history(case: Case, values: list[float]) -> Case:
    metric = "validation_ndcg@100" if case.ranks else "validation_rmse"
    history = [{"phase": "train", "epoch": n + 1, metric: value} for n, value in enumerate(values)]
    training = replace(case.recommender.training, epochs=history)
    return replace(case, recommender=replace(case.recommender, training=training))


def test_training_that_ended_too_soon_or_overfitted(rated: Case, ranked: Case) -> None:
    epochs = rated.config.training.epochs
    falling = [2.0 - n / epochs for n in range(epochs)]
    (one,) = found(with_history(rated, falling), "learning")
    assert "underfitting" in one.what
    (one,) = found(with_history(ranked, [1 - value / 2 for value in falling]), "learning")
    assert "underfitting" in one.what
    assert found(with_history(rated, falling[:-1]), "learning") == []
    (one,) = found(with_history(rated, [0.5, 0.6, 0.7]), "learning")
    assert "overfitting" in one.what
    assert "0.5000 after epoch 1 and 0.7000 after epoch 3" in one.evidence
    (one,) = found(with_history(ranked, [0.5, 0.4]), "learning")
    assert "overfitting" in one.what
    assert found(with_history(rated, [0.6, 0.5, 0.7]), "learning") == []
    assert found(with_history(rated, []), "learning") == []


def test_errors_that_are_far_smaller_on_train(rated: Case) -> None:
    train = rated.parts.train
    noise = np.random.default_rng(0).normal(size=len(train)) / 20
    almost = rated.recommender.predict(train) + noise
    rows = train.interactions.with_columns(pl.Series("stars", almost))
    learnt = replace(rated.parts, train=train.with_interactions(rows).as_train())
    (one,) = found(replace(rated, parts=learnt), "overfitting")
    assert f"RMSE is {np.sqrt(np.mean(noise**2)):.4f} on the training set" in one.evidence


def test_a_gap_between_validation_and_test(rated: Case, ranked: Case) -> None:
    (one,) = found(replace(rated, recorded={"validation": {"rmse": 0.2}}), "validation-gap")
    assert "RMSE was 0.2000 on the validation set and is " in one.evidence
    (one,) = found(replace(ranked, recorded={"validation": {"ndcg@100": 0.95}}), "validation-gap")
    assert "NDCG@100 was 0.9500 on the validation set" in one.evidence
    assert found(replace(rated, recorded={"validation": {"rmse": 5.0}}), "validation-gap") == []
    assert found(replace(rated, recorded={}), "validation-gap") == []


def cooled(case: Case, which: str, share: float) -> Case:
    side = getattr(case.recommender, which)
    warm = side.warm.copy()
    warm[: round(share * len(warm))] = False
    catalogue = replace(case.recommender.catalogue, **{which: replace(side, warm=warm)})
    return replace(case, recommender=replace(case.recommender, catalogue=catalogue))


def test_cold_rows(ranked: Case) -> None:
    (one,) = found(cooled(ranked, "users", 0.3), "cold-rows")
    assert (one.severity, one.what) == ("note", "some users are cold")
    (one,) = found(cooled(ranked, "items", 0.9), "cold-rows")
    assert (one.severity, one.what) == ("warning", "most test rows are of cold items")
    schema = ranked.parts.test.schema.model_copy(update={"users": {}})
    bare = replace(ranked, parts=replace(ranked.parts, test=replace(ranked.parts.test, schema=schema)))
    (one,) = found(cooled(bare, "users", 0.3), "cold-rows")
    assert "cold, and have no features" in one.what


def constant(case: Case, **columns: Any) -> Case:
    items = case.parts.train.items.with_columns(**columns)
    return replace(case, parts=replace(case.parts, train=replace(case.parts.train, items=items)))


def test_features_that_are_not_read(ranked: Case) -> None:
    (one,) = found(constant(ranked, kind=pl.lit("kind 1")), "unread-features")
    assert (one.severity, one.what) == ("note", "1 of 2 features of the items changes nothing")
    assert one.evidence.startswith("kind: ")
    same = pl.lit(["tag 1"], dtype=pl.List(pl.String))
    (one,) = found(constant(ranked, kind=pl.lit("kind 1"), tags=same), "unread-features")
    assert (one.severity, one.what) == ("warning", "the model uses no feature of the items")


def test_the_worst_comes_first(rated: Case) -> None:
    whole, part = latent(rated, "users")
    part[:] = part.mean(axis=0)
    sick = changed(replace(rated, data=DataState("a", "b", 0.0)), users=flat(whole))
    severities = [one.severity.value for one in examine(sick)]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {"error", "warning"} <= set(severities)


@pytest.mark.parametrize(
    ("settings", "named"),
    [(["model.kind=sequence"], "model.dropout"), (["model.kind=linear"], "objective.regularisation")],
)
def test_advice_names_what_holds_a_model_back(
    tastes: Path, ranked: Case, settings: list[str], named: str
) -> None:
    config = load_config(tastes / "config.toml", ["objective.name=softmax", "model.hidden=[128]", *settings])
    assert replace(ranked, config=config).held_back_by == named
