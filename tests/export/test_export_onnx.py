"""Towers in ONNX: of every kind of feature and setting, and refused where they would lie."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from twotower.data.dataset import Dataset
from twotower.errors import BundleError, MissingExtraError
from twotower.estimator import TwoTower
from twotower.export import onnx as export

pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")


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
