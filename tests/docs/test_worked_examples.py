"""The worked examples of CONTRIBUTING.md: each is one file and one line of a registry, and it works."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import twotower as tt
from twotower.audit.guessing.kinds import guess_kind
from twotower.baselines import RANKING_BASELINES
from twotower.config import load_config
from twotower.config.kinds import KINDS
from twotower.core.lists import Lists
from twotower.core.registry import Registry
from twotower.data.splits import SPLITS
from twotower.errors import BundleError, ConfigError
from twotower.evaluation.ranker import RankRequest
from twotower.kernels.pairs import Pairs
from twotower.metrics import METRICS, higher_is_better, ranking_values
from twotower.objectives.objective import Step
from twotower.objectives.registry import OBJECTIVES
from twotower.retrieval import INDEXES, exact_top_k, load_index, tune_index
from twotower.towers.registry import TOWERS
from twotower.training.registry import TRAINERS

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r'^ *```python title="(?P<title>[\w/.]+)"\n(?P<code>.*?)^ *```$', re.M | re.S)


def blocks(section: str) -> list[tuple[str, str]]:
    """The titled blocks of a section of CONTRIBUTING.md: (file, code)."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {section}$(.*?)^###? ", text, re.M | re.S)
    assert found is not None, section
    return [(match["title"], textwrap.dedent(match["code"])) for match in _FENCE.finditer(found[1])]


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    """Undoes what `added` registers, at the end of a test or when it is closed."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undo: ExitStack) -> Any:
    """Adds a section's example: its file to a package of the test's, its line to a registry."""

    def add(section: str, registry: Registry[Any]) -> Any:
        (file, code), (_, line) = blocks(section)
        package = tmp_path / "worked_examples"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / Path(file).name).write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, package.name, raising=False)
        ((name, place),) = ast.literal_eval("{" + line + "}").items()
        module, _, within = place.partition(":")
        assert Path(file).stem == module
        kind = getattr(importlib.import_module(f"worked_examples.{module}"), within)
        undo.enter_context(registry.temporarily(**{name: kind}))
        assert registry.name_of(kind) == name
        return kind

    return add


def test_a_feature_kind(added: Any, undo: ExitStack, tmp_path: Path) -> None:
    kind = added("A feature kind", KINDS)
    rng = np.random.default_rng(0)
    age = rng.integers(20, 60, 80)
    rows = pl.DataFrame({"user_id": rng.integers(0, 80, 2000), "item_id": rng.integers(0, 40, 2000)})
    label = (rows["item_id"] % 4 == pl.Series(age // 10 - 2)[rows["user_id"]]).cast(pl.Float64)
    users = pl.DataFrame({"user_id": range(80), "age": [str(years) for years in age]})
    models = []
    for given in ("groups", kind(), {"kind": "groups", "width": 10.0}):
        schema = tt.Schema.parse({"label": "y", "users": {"age": given}})
        data = tt.Dataset.of(rows.with_columns(y=label), users, schema=schema).as_train()
        assert data.schema.model_dump(mode="json")["users"] == {"age": {"kind": "groups", "width": 10.0}}
        models.append(tt.TwoTower(dim=8, objective="squared", threads=1).fit(data))
    asked = [tt.Query(features={"age": 25}), tt.Query(features={"age": 45}), tt.Query(features={"age": 99})]
    lists = [model.recommend(asked, k=10) for model in models]
    assert lists[0].equals(lists[1])
    assert lists[0].equals(lists[2])
    items = lists[0]["item_id"].to_numpy().reshape(3, 10) % 4
    assert (items[0] == 0).all()  # the items that people between 20 and 30 like
    assert (items[1] == 2).all()
    models[0].save(tmp_path / "bundle")
    assert tt.load(tmp_path / "bundle").recommend(asked, k=10).equals(lists[0])
    tens = pl.Series("age", age // 10 * 10).cast(pl.String)
    assert guess_kind(tens, table="users").kind == kind(width=20)  # `init` knows it too
    assert guess_kind(users["age"], table="users").name == "number"
    undo.close()
    with pytest.raises(BundleError, match=r"can't be read: 'schema.users.age' must be one of .*got 'groups'"):
        tt.load(tmp_path / "bundle")


QUICK: Any = {"dim": 8, "batch_size": 128, "learning_rate": 0.05, "epochs": 20, "refit": False, "threads": 1}


def check_loss(objective: Any, formula: Callable[..., float], step: Step | None = None) -> None:
    """Compare a loss with its formula, and its gradients with differences of it, in both precisions."""
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(n, 3)) for n in (4, 6)]
    user, item = np.array([0, 0, 2, 2]), np.array([1, 3, 0, 5])
    label, weight = rng.normal(size=4).astype(np.float32), np.array([1, 2, 0.5, 1], dtype=np.float32)

    def loss(U: Any, V: Any) -> float:
        return float(np.average(formula(U @ V.T, user, item, label), weights=weight))

    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-4)):
        U, V = (torch.from_numpy(of).to(dtype) for of in vectors)
        value, *gradients = objective(
            U, V, Pairs.from_arrays(user, item, label, weight, n_users=4), step=step
        )
        assert value == pytest.approx(loss(*vectors), rel=tolerance)
        for at, gradient in enumerate(gradients):
            for place in np.ndindex(*gradient.shape):
                ends = []
                for sign in (1, -1):
                    moved = [of.copy() for of in vectors]
                    moved[at][place] += sign * 1e-5
                    ends.append(loss(*moved))
                assert float(gradient[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=tolerance)


def test_a_pointwise_loss(added: Any, undo: ExitStack, tmp_path: Path) -> None:
    kind = added("A pointwise loss", OBJECTIVES)
    check_loss(kind(), lambda score, user, item, label: np.log(np.cosh(score[user, item] - label)))
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"user_id": rng.integers(0, 30, 900), "item_id": rng.integers(0, 20, 900)})
    label = rows.select(y=(pl.col("user_id") % 5 - pl.col("item_id") % 3).cast(pl.Float64))
    data = tt.Dataset.of(rows.hstack(label), schema={"label": "y"})
    found = []
    for given in ("log_cosh", kind()):
        model = tt.TwoTower(objective=given, regularisation=0.01, **QUICK).fit(data.as_train())
        assert model.objective.label_cap is None  # it has the settings of all that predict a label
        found.append(model.predict(data))
    assert np.array_equal(*found)
    assert np.abs(found[0] - data.interactions["y"].to_numpy()).mean() < 0.2
    model.save(tmp_path / "bundle")
    assert np.array_equal(tt.load(tmp_path / "bundle").predict(data), found[0])
    undo.close()
    with pytest.raises(BundleError, match=r"'objective.name' must be one of .*; got 'log_cosh'"):
        tt.load(tmp_path / "bundle")


def test_a_ranking_loss(added: Any) -> None:
    kind = added("A ranking loss", OBJECTIVES)
    q = np.linspace(0.5, 1, 6)

    def formula(score: Any, user: Any, item: Any, label: Any) -> Any:
        return np.log((np.exp(score) / q).sum(axis=1))[user] - score[user, item]

    check_loss(kind(), formula, Step(log_q=np.log(q).astype(np.float32)))
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"user_id": rng.integers(0, 40, 3000), "item_id": rng.integers(0, 40, 3000)})
    alike = rows.filter(pl.col("user_id") % 4 == pl.col("item_id") % 4).unique(maintain_order=True)
    train = tt.Dataset.of(alike, schema={}).as_train()
    model = tt.TwoTower(objective="multinomial", negatives=20, **QUICK).fit(train)
    lists = model.recommend(model.users.ids, k=5, exclude_seen=False)
    assert (lists["user_id"] % 4 == lists["item_id"] % 4).mean() > 0.9


def test_a_split(added: Any, tmp_path: Path) -> None:
    kind = added("A split", SPLITS)
    data = tt.datasets.load("kuairec-sample")
    for method in ("newest_items", kind()):
        train, test = tt.split(data, method, test=0.25)
        items = [part.interactions.get_column("video_id").unique() for part in (train, test)]
        assert items[0].max() < items[1].min()  # type: ignore[operator]
        assert len(items[1]) == round(0.25 * sum(map(len, items)))
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\nsource = "kuairec-sample"\n[split]\nmethod = "newest_items"\n', encoding="utf-8"
    )
    assert load_config(config).split.kind() is kind


def test_a_metric(added: Any) -> None:
    kind = added("A metric", METRICS)
    train, test = tt.split(tt.datasets.load("kuairec-sample"), "random", test=0.1, seed=42)
    model = tt.TwoTower(kind="linear", dim=8, epochs=1, threads=1).fit(train)
    found = model.evaluate(test, ks=(5, 20), resamples=100)
    misses = found.metrics["longest_miss@20"]
    assert misses.low < misses < misses.high <= 20
    assert found.metrics["longest_miss@5"] < misses
    assert not higher_is_better("longest_miss@5")
    lists = np.array([[3, 1, 2, 5, 4], [9, 8, 7, 6, 5], [1, 3, 9, 0, -1]])
    by_hand = ranking_values(lists, Lists.from_groups([[3, 4], [1], [9]]), [2, 5], [kind()])
    assert [of.tolist() for of in by_hand.values()] == [[1, 2, 2], [3, 5, 2]]


def test_an_index(added: Any, tmp_path: Path) -> None:
    kind = added("An index", INDEXES)
    rng = np.random.default_rng(0)
    items, users = ((rng.normal(size=(n, 12)) * 0.8 ** np.arange(12)).astype(np.float32) for n in (2000, 50))
    tuned = tune_index(items, users, 10, 0.99, kinds=["prefix"], exact=False)
    assert isinstance(tuned.index, kind)
    assert tuned.point.recall > 0.99
    tuned.index.save(tmp_path / "index")
    found = load_index(tmp_path / "index", items).with_search(columns=12).search(users, 10)
    assert np.array_equal(found.items, exact_top_k(users, items, 10).items)


def test_a_ranking_baseline(added: Any) -> None:
    kind = added("A ranking baseline", RANKING_BASELINES)
    rng = np.random.default_rng(0)
    rows = {"user": rng.integers(0, 30, 600), "item": rng.integers(0, 20, 600)}
    train, test = tt.split(
        tt.Dataset.of(pl.DataFrame(rows), schema={"user": "user", "item": "item"}), test=0.2
    )
    model = tt.TwoTower(dim=8, epochs=2, threads=1)
    names = ["newest", "popularity"]
    found = tt.compare(train, test, model, baselines=names, ks=(5,), resamples=100, progress=False)
    assert list(found.comparison.models) == ["two-tower", *names]
    fitted = found.choices["newest"].baseline
    assert isinstance(fitted, kind)
    everyone = Lists.empty(2)
    tables = test.with_interactions(test.interactions.clear())
    asked = RankRequest(pl.Series([0, 1]), pl.Series([3, 17, 99, 5]), everyone, tables)
    assert kind().fit(train).rank(asked, 4).tolist() == [[1, 3, 0, 2]] * 2


def taste(n: int = 4000) -> tt.TrainPart:
    """Users with two properties, who like items of one group if exactly one of the two is given."""
    rng = np.random.default_rng(0)
    users = pl.DataFrame({"user_id": range(120), "a": [u % 2 for u in range(120)]})
    users = users.with_columns(b=pl.col("user_id") // 2 % 2)
    rows = pl.DataFrame({"user_id": rng.integers(0, 100, n), "item_id": rng.integers(0, 20, n)})
    odd = (pl.col("user_id") + pl.col("user_id") // 2) % 2 == pl.col("item_id") % 2
    schema = {"label": "y", "users": {"a": "category", "b": "category"}}
    return tt.Dataset.of(rows.with_columns(y=odd.cast(pl.Float64)), users, schema=schema).as_train()


def test_a_kind_of_towers(added: Any, undo: ExitStack, tmp_path: Path) -> None:
    kind = added("A kind of towers", TOWERS)
    data = taste()
    settings: dict[str, Any] = {"dim": 8, "objective": "squared", "batch_size": 400, "threads": 1}
    models = [
        tt.TwoTower(kind=given, embedding_dim=4, epochs=15, refit=False, **settings).fit(data)
        for given in ("crossed", kind)
    ]
    assert isinstance(models[0].model.users, kind)
    cold = [tt.Query(features={"a": u % 2, "b": u // 2 % 2}) for u in range(4)]
    lists = [model.recommend(cold, k=10) for model in models]
    assert lists[0].equals(lists[1])
    items = lists[0]["item_id"].to_numpy().reshape(4, 10) % 2
    assert (items == np.array([[0], [1], [1], [0]])).all()  # no sum of two effects has this order
    models[0].save(tmp_path / "bundle")
    assert tt.load(tmp_path / "bundle").recommend(cold, k=10).equals(lists[0])
    undo.close()
    with pytest.raises(BundleError, match=r"must be one of linear, mlp.*'crossed'"):
        tt.load(tmp_path / "bundle")


def test_a_trainer(added: Any, undo: ExitStack, tmp_path: Path) -> None:
    kind = added("A trainer", TRAINERS)
    data = taste()
    settings: dict[str, Any] = {"dim": 8, "objective": "squared", "learning_rate": 0.2, "threads": 1}
    estimators = [
        tt.TwoTower(trainer=given, epochs=100, patience=100, **settings) for given in ("adagrad", kind)
    ]
    assert estimators[0] == estimators[1]
    model = estimators[0].fit(data)
    losses = [record["train_loss"] for record in model.history if record["phase"] == "train"]
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ConfigError, match="'adagrad' can't train towers of kind 'linear' by objective 'bpr'"):
        tt.TwoTower(trainer="adagrad", objective="bpr")
    model.save(tmp_path / "bundle")
    undo.close()
    assert np.array_equal(tt.load(tmp_path / "bundle").predict(data), model.predict(data))
