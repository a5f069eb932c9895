"""`TwoTower(kind="auto")`: what is considered, what is kept, and that kept models are one dot product."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

import twotower as tt
from twotower.data.dataset import Dataset, TrainPart
from twotower.estimator.auto import AutoFit
from twotower.recommender.parts import Kinds
from twotower.recommender.read_histories import past_of
from twotower.towers import History
from twotower.towers.auto import AutoUsers
from twotower.towers.folding import FoldingUsers
from twotower.training import HistoryFile

SMALL: dict[str, Any] = {"kind": "auto", "epochs": 3, "threads": 1}


class Said(tt.Callback):
    """Keeps what was chosen."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_choice(self, *, line: str) -> None:
        self.lines.append(line)


def data(*, walks: bool, n_users: int = 150, timestamp: bool = True) -> Dataset:
    """Users who walk along a ring of items (order says what is next), or who take items of their group."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        start, group = rng.integers(60), user % 6
        for place in range(12):
            item = (start + place) % 60 if walks else group * 10 + rng.integers(10)
            if rng.random() < 0.1:
                item = rng.integers(60)
            rows.append((user, int(item), place))
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "at"], orient="row")
    table = table.unique(["user_id", "item_id"], keep="first", maintain_order=True)
    items = pl.DataFrame({"item_id": range(62), "group": [f"{i // 10}" for i in range(62)]})
    schema: dict[str, Any] = {"items": {"group": "category"}}
    if timestamp:
        schema["timestamp"] = "at"
    return Dataset.of(table if timestamp else table.drop("at"), items=items, schema=schema)


def fitted(train: TrainPart, **settings: Any) -> tuple[tt.Recommender, list[str]]:
    said = Said()
    model = tt.TwoTower(**{**SMALL, **settings}).fit(train, callbacks=[said], progress=False)
    return model, said.lines


@pytest.fixture(scope="module")
def walking() -> TrainPart:
    train, _ = tt.split(data(walks=True), "leave_last")
    return train


@pytest.fixture(scope="module")
def both(walking: TrainPart) -> tt.Recommender:
    """A model of two parts, whatever validation says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoFit, "_chosen", lambda self, found, *rest: _all(found))
        model, _ = fitted(walking, candidates=("linear", "sequence"))
    return model


def _all(found: Any) -> Kinds:
    return Kinds("ndcg@100", dict.fromkeys(found, 0.1), dict(zip(found, (1.0, 0.5), strict=True)), 0.2)


def test_order_is_used_where_it_says_what_is_next(walking: TrainPart, tmp_path: Path) -> None:
    told: list[str] = []

    class Kept(tt.Callback):
        def on_kind(self, *, kind: str) -> None:
            told.append(kind)

    history = HistoryFile(tmp_path / "history.jsonl")
    said = Said()
    model = tt.TwoTower(**SMALL).fit(walking, callbacks=[said, Kept(), history], progress=False)
    kinds = model.kinds
    assert kinds is not None
    assert said.lines[-1] == str(kinds)
    assert set(kinds.alone) == {"linear", "item_item", "sequence"}
    assert "sequence" in kinds.weights
    assert next(iter(kinds.weights.values())) == 1.0
    assert kinds.value >= kinds.alone[next(iter(kinds.weights))]
    assert told == [*kinds.alone, *kinds.weights]  # the second time for the refit
    assert model.model.config.kind in ("sequence", "auto")
    assert kinds.kept in repr(model)
    # every kind has its lines in the file, and those kept are in the history
    lines = [json.loads(line) for line in history.path.read_text().splitlines()]
    assert {(one["kind"], one["phase"]) for one in lines} == {
        *((kind, "train") for kind in kinds.alone),
        *((kind, "refit") for kind in kinds.weights),
    }
    assert {record["kind"] for record in model.history} == set(kinds.weights)
    model.save(tmp_path / "bundle")
    assert tt.load(tmp_path / "bundle").kinds == kinds


def test_with_few_users_the_simplest_kind_is_trained_alone() -> None:
    model, lines = fitted(data(walks=True, n_users=60).as_train())
    assert model.model.config.kind == "linear"
    assert model.kinds is None
    assert lines == [
        "kind linear: the validation set has positives of 60 users, and a choice among kinds of towers needs "
        "100"
    ]


def test_without_an_order_the_closed_form_is_kept() -> None:
    _, lines = fitted(data(walks=False).as_train(), candidates=("linear", "sequence"))
    assert "linear" in lines[-1].split("kept ")[1]


def test_without_timestamps_there_is_nothing_to_choose() -> None:
    data_without = data(walks=True, timestamp=False).as_train()
    model, lines = fitted(data_without, candidates=("linear", "sequence"))
    assert not any("kept" in line for line in lines)
    assert model.model.config.kind == "linear"
    with pytest.raises(
        tt.errors.ConfigError, match=r"need the time of each interaction; set schema\.timestamp"
    ):
        fitted(data(walks=True, timestamp=False).as_train(), candidates=("sequence",))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"candidates": ("linear", "auto")}, "must be kinds that can be trained, got 'auto'"),
        ({"candidates": ("linaer",)}, "linear"),
        ({"candidates": ()}, "candidates"),
        ({"objective": "squared"}, "of kind 'auto' by objective 'squared'"),
    ],
)
def test_what_can_not_be_considered_is_refused(walking: TrainPart, settings: Any, match: str) -> None:
    with pytest.raises(tt.errors.ConfigError, match=match):
        fitted(walking, **settings)


def test_joined_scores_are_the_weighted_sum_of_the_parts(both: tt.Recommender) -> None:
    users, items = both.model.users, both.model.items
    assert isinstance(users, AutoUsers)
    config: Any = both.model.config
    arrays = replace(both.users.arrays, history=History.of(past_of(both.interactions), both.items.arrays))
    wanted = np.zeros((len(both.users), len(both.items)))
    with torch.no_grad():
        for part, user, item in zip(config.parts, users.parts, items.parts, strict=True):
            (u, b_u), (v, b_i) = ((x[:, :-1], x[:, -1:]) for x in (user(arrays), item(both.items.arrays)))
            wanted += part.weight * (u @ v.T + b_u + b_i.T).numpy()
    found = both.model.encode(arrays, "users") @ both.model.encode(both.items.arrays, "items").T
    npt.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    npt.assert_allclose(both.items.vectors, both.model.encode(both.items.arrays, "items"), atol=1e-6)
    # the closed form's users are as trained, which folding in comes near to
    gap = both.users.vectors @ both.items.vectors.T - wanted
    assert np.abs(gap).max() < 0.1 * wanted.std()


def test_a_joined_model_is_saved_answers_and_explains(both: tt.Recommender, tmp_path: Path) -> None:
    both.save(tmp_path / "bundle")
    again = tt.load(tmp_path / "bundle")
    asked = [tt.Query(user=3), tt.Query(history=[1, 2, 3]), tt.Query(user=3, history=[7])]
    lists = both.recommend(asked, k=5)
    assert again.recommend(asked, k=5).equals(lists)
    moved = lists.filter(pl.col("query") == 2)["item_id"].to_list()
    assert moved != lists.filter(pl.col("query") == 0)["item_id"].to_list()
    said = both.explain(asked[2], items=moved[:1])
    npt.assert_allclose(said["contribution"].sum() + said["base"][0], said["score"][0], rtol=1e-4)
    assert isinstance(again.model.users, AutoUsers)
    assert isinstance(again.model.users.parts[0], FoldingUsers)


def test_someone_new_without_anything_is_the_typical_user(both: tt.Recommender) -> None:
    first = both.recommend(tt.Query(history=[]), k=3)
    assert len(first) == 3
    assert np.isfinite(first["score"].to_numpy()).all()


def test_a_resumed_run_has_the_same_bits(walking: TrainPart, tmp_path: Path) -> None:
    train, validation = tt.split(walking, "leave_last")
    whole = tt.TwoTower(**SMALL).fit(train, validation, progress=False)

    class Stop(tt.Callback):
        def on_epoch_end(self, record: Any) -> None:
            if record["phase"] == "train" and record["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(tt.errors.TrainingError):
        tt.TwoTower(**SMALL).fit(
            train, validation, callbacks=[Stop()], checkpoints=tmp_path / "kept", progress=False
        )
    resumed = tt.TwoTower(**SMALL).fit(
        train, validation, checkpoints=tmp_path / "kept", resume=True, progress=False
    )
    assert np.array_equal(resumed.users.vectors, whole.users.vectors)
    assert np.array_equal(resumed.items.vectors, whole.items.vectors)


def test_settings_of_all_towers_reach_each_kind(walking: TrainPart) -> None:
    model, _ = fitted(walking, candidates=("linear",), dim=16)
    assert model.model.config.dim == 16
    model, _ = fitted(walking, candidates=("sequence",), dim=32)
    assert model.model.config.dim == 32
    with pytest.raises(tt.errors.ConfigError, match="set by training"):
        fitted(walking, parts=({"model": {"kind": "linear"}, "weight": 1.0},))


def test_settings_of_an_objective_are_for_the_kinds_that_read_them(walking: TrainPart) -> None:
    model, _ = fitted(walking, candidates=("linear", "item_item"), unobserved_mass=20.0)
    assert model.kinds is not None
    assert next(iter(model.kinds.weights)) == max(model.kinds.alone, key=model.kinds.alone.__getitem__)
    model, _ = fitted(walking, candidates=("item_item", "sequence"), objective="softmax")
    assert model.model.config.kind == "sequence"
    with pytest.raises(tt.errors.ConfigError, match="item_item"):
        fitted(walking, candidates=("item_item",), objective="softmax")


def test_kinds_without_histories_are_not_joined(walking: TrainPart) -> None:
    model, _ = fitted(walking, candidates=("linear", "mlp"))
    assert model.model.config.kind in ("linear", "mlp")


@pytest.mark.parametrize("candidates", [("linear",), ("linear", "sequence")])
def test_a_run_without_a_refit_is_resumed_at_its_end(
    candidates: Any, walking: TrainPart, tmp_path: Path
) -> None:
    given = {**SMALL, "candidates": candidates, "refit": False}
    whole = tt.TwoTower(**given).fit(walking, checkpoints=tmp_path / "kept", progress=False)
    again = tt.TwoTower(**given).fit(walking, checkpoints=tmp_path / "kept", resume=True, progress=False)
    assert np.array_equal(again.users.vectors, whole.users.vectors)
    other = {**given, "epochs": 2}  # without resume, what is there is another training's
    tt.TwoTower(**other).fit(walking, checkpoints=tmp_path / "kept", progress=False)
    tt.TwoTower(**other).fit(walking, checkpoints=tmp_path / "kept", resume=True, progress=False)


def test_a_joined_model_is_not_written_as_onnx(both: tt.Recommender, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from twotower.export import export_onnx

    with pytest.raises(tt.errors.ConfigError, match="linear and sequence towers can't be written as ONNX"):
        export_onnx(both, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def graded(train: TrainPart, **schema: Any) -> TrainPart:
    """The same interactions with ratings, and rows that weigh more."""
    rng, n = np.random.default_rng(1), len(train)
    table = train.interactions.with_columns(
        rating=pl.Series(rng.integers(1, 6, n).astype(float)),
        w=pl.Series(rng.integers(1, 3, n).astype(float)),
    )
    given = {"timestamp": "at", "items": {"group": "category"}, **schema}
    return Dataset.of(table, items=train.items, schema=given).as_train()


@pytest.mark.parametrize("kinds", [("sequence", "item_item"), ("item_item", "sequence")])
def test_what_is_joined_has_histories_in_order_and_the_grades_of_its_parts(
    kinds: tuple[str, str], walking: TrainPart, tmp_path: Path
) -> None:
    train, held = tt.split(graded(walking, label="rating"), "leave_last")
    weights = dict(zip(kinds, (1.0, 0.5), strict=True))
    kept = Kinds("ndcg@100", dict.fromkeys(weights, 0.1), weights, 0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AutoFit, "_chosen", lambda *args: kept)
        model = tt.TwoTower(**SMALL, candidates=kinds, dim=16, refit=False).fit(train, held, progress=False)
    assert model.interactions.times is not None
    alone = tt.TwoTower(kind="item_item", dim=16, threads=1, refit=False)
    item_item = alone.fit(train, held, progress=False)
    # what interactions count, item by item of the first user, is as a part that is alone has it
    grades = [
        dict(zip(one.seen[0].tolist(), one.interactions.grades[: len(one.seen[0])].tolist(), strict=True))
        for one in (model, item_item)
    ]
    assert grades[0] == grades[1]
    assert len(set(grades[0].values())) > 1
    model.save(tmp_path / "bundle")
    asked = [
        tt.Query(history=[1, 2, 3], labels=labels, times=times)
        for labels in ([5.0, 1.0, 1.0], [1.0, 1.0, 5.0])
        for times in ([100.0, 200.0, 300.0], [300.0, 200.0, 100.0])
    ]
    vectors = model.encode_queries(asked)
    npt.assert_allclose(tt.load(tmp_path / "bundle").encode_queries(asked), vectors, atol=1e-5)
    scores = vectors @ model.items.vectors.T
    for one in range(4):
        for other in range(one):
            assert np.abs(scores[one] - scores[other]).max() > 0.01 * scores.std()


def test_kinds_that_can_not_weigh_interactions_are_left_out(walking: TrainPart) -> None:
    model, lines = fitted(graded(walking, weight="w"), candidates=("linear", "item_item"))
    assert "item_item is left out: it can't weigh interactions" in lines
    assert model.model.config.kind == "linear"
    with pytest.raises(tt.errors.ConfigError, match="can't weigh interactions"):
        fitted(graded(walking, weight="w"), candidates=("item_item",))


def test_the_objective_reaches_kinds_that_sample(walking: TrainPart) -> None:
    model, _ = fitted(walking, candidates=("sequence",), objective="bpr")
    assert model.objective.name == "bpr"
    with pytest.raises(tt.errors.ConfigError, match="regularisation"):
        fitted(walking, candidates=("sequence",), objective="softmax", regularisation=5.0)
