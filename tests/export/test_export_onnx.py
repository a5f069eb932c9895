"""Towers in ONNX: of every kind of feature and setting, and refused where they would lie."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import twotower as tt
from history_towers import KINDS, data
from twotower.data.dataset import Dataset
from twotower.errors import BundleError, ConfigError, MissingExtraError
from twotower.estimator import TwoTower
from twotower.export import onnx as export
from twotower.recommender.read_histories import past_of
from twotower.towers.poolings.registry import POOLINGS
from twotower.towers.registry import TOWERS

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

HISTORY_KINDS = [
    {"kind": "item_item"},
    {"kind": "sequence", "pooling": POOLINGS.names(), "max_history": 4},  # a sum of all: each is in it
]


def fitted(**settings):
    rng = np.random.default_rng(0)
    cell = rng.choice(20 * 24, 200, replace=False)
    events = pl.DataFrame({"user_id": cell // 24, "item_id": cell % 24, "y": rng.gamma(2.0, 1.0, 200)})
    users = pl.DataFrame({"user_id": np.arange(20), "age": rng.normal(size=20)})
    items = pl.DataFrame(
        {
            "item_id": np.arange(24),
            "tags": [list(range(i % 4)) for i in range(24)],
            "kind": [f"k{i % 3}" for i in range(24)],
            "caption": [f"标题 {i * i} words" for i in range(24)],
        }
    )
    schema = {
        "label": "y",
        "users": {"age": "number"},
        "items": {"tags": "categories", "kind": "category", "caption": "text"},
    }
    data = Dataset.of(events, users, items, schema=schema).as_train()
    return TwoTower(**({"dim": 12, "kind": "mlp", "hidden": (6,), "epochs": 1, "threads": 1} | settings)).fit(
        data
    )


@pytest.mark.slow  # torch's exporter takes seconds each
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normalise": True, "activation": "gelu", "kind": "mlp", "hidden": (6, 4), "objective": "all_pairs"},
    ],
    ids=["members and a mean", "normalised, deep"],
)
def test_the_written_towers_are_torchs(tmp_path, settings):
    found = export.export_onnx(fitted(**settings), tmp_path / "towers")
    assert {tower.path.name for tower in found.values()} == {"users.onnx", "items.onnx"}
    for tower in found.values():
        assert tower.difference < 1e-5
        assert tower.rows > 1000
    facts = json.loads((tmp_path / "towers" / "towers.json").read_text())
    assert facts["dim"] == 12
    assert set(facts["towers"]["users"]["inputs"]) == {"id", "numbers"}
    assert set(facts["towers"]["items"]["inputs"]) == {
        "id",
        "numbers",
        "codes",
        "list_0_codes",
        "list_0_rows",
    }


def reading(**settings):
    """A model whose user tower reads histories; an item is cold."""
    made = tt.TwoTower(**{"dim": 16, "epochs": 1, "threads": 1, "refit": False, "positive": 3.0} | settings)
    return made.fit(data().as_train(), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("settings", HISTORY_KINDS, ids=["item_item", "every pooling"])
def test_histories_are_read_as_by_the_model(tmp_path, settings):
    """Vectors of trained users, and of someone new with labels, from the rows and grades of their items."""
    model = reading(**settings)
    found = export.export_onnx(model, tmp_path)
    assert all(tower.difference < 1e-5 for tower in found.values())
    assert set(found["users"].inputs) == {"numbers", "history_items", "history_grades"}
    session = onnxruntime.InferenceSession(str(found["users"].path), providers=["CPUExecutionProvider"])
    queries = tt.Query(features={"age": 31.0}, history=[101, 107, 103], labels=[5.0, None, 1.0])
    asked = model.query_encoder.encode(tt.Queries.of(queries)).asked
    for past, numbers, vectors in (
        (past_of(model.interactions), model.users.arrays.dense, model.users.vectors),
        (model.histories.past(asked)[0], asked.features.dense, model.encode_queries(queries)),
    ):
        longest = past.lists.lengths.max() + 1
        items, grades = (
            np.zeros((past.n_users, longest), np.int64),
            np.zeros((past.n_users, longest), np.float32),
        )
        for row in range(past.n_users):
            own = past.lists.span(row)
            n = own.stop - own.start
            items[row, :n], grades[row, :n] = past.item[own] + 1, past.label[own]
        given = {"numbers": numbers.numpy(), "history_items": items, "history_grades": grades}
        (written,) = session.run(None, given)
        np.testing.assert_allclose(written, vectors, rtol=1e-4, atol=1e-5)


def test_a_tower_that_onnx_has_no_words_for_is_refused(tmp_path):
    with TOWERS.temporarily(**KINDS):
        model = reading(kind="sum", objective="softmax")
        with pytest.raises(ConfigError, match="SumTower read histories, and can't be written as ONNX"):
            export.export_onnx(model, tmp_path / "towers")
    assert list((tmp_path / "towers").iterdir()) == []


def test_a_tower_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "_graph", lambda tower: b"")
    monkeypatch.setattr(export, "_compared", lambda *given: (0.01, 5))
    with pytest.raises(BundleError, match=r"differs by 0\.01"):
        export.export_onnx(fitted(), tmp_path / "towers")
    assert list((tmp_path / "towers").iterdir()) == []
    monkeypatch.setattr(export, "_compared", lambda *given: (float("nan"), 5))
    with pytest.raises(BundleError):
        export.export_onnx(fitted(), tmp_path / "towers")


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"twotower\[onnx\]"):
        export.export_onnx(fitted(), tmp_path)


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("import sys; sys.modules['fastapi'] = None; from twotower.server import create_app", "serve"),
        (
            "import sys; sys.modules['redis'] = None; from twotower.server.store import make_store; make_store('redis://x')",
            "redis",
        ),
    ],
)
def test_the_servers_extras_are_named(code, extra):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "MissingExtraError" in done.stderr
    assert f"pip install 'twotower[{extra}]'" in done.stderr
