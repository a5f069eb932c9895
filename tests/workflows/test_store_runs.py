"""A run whose training set is on disk has the metrics, and the hash of the data, of one in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twotower.config import Config, load_config
from twotower.config.ranker import RankerConfig
from twotower.errors import ConfigError, DataError
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run
from twotower.workflows.training import check_same_data, evaluate, train


def config_of(folder: Path, *given: str) -> Config:
    own = ["model.kind=linear", "model.dim=4", "training.epochs=1", "evaluation.resamples=100"]
    return load_config("kuairec-sample", [*own, f"data.store_dir={folder / 'stores'}", *given])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for where in ("always", "never"):
        train(config_of(folder, f"data.store={where}"), folder / where)
    return folder


def ranking(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def test_the_packaged_sample_has_the_same_metrics(runs: Path) -> None:
    stored, memory = (ranking(runs / where) for where in ("always", "never"))
    assert stored["data"] == memory["data"]
    for name in ("ndcg@10", "ndcg@100", "recall@20"):
        assert stored["ranking"][name]["value"] == pytest.approx(memory["ranking"][name]["value"], abs=5e-4)


def test_data_in_memory_and_on_disk_are_the_same(runs: Path) -> None:
    for run, where in (("always", "never"), ("never", "always")):
        check_same_data(Run(runs / run), load_parts(config_of(runs, f"data.store={where}")))
    with pytest.raises(DataError, match="have changed"):
        check_same_data(
            Run(runs / "always"), load_parts(config_of(runs, "data.store=always", "split.seed=3"))
        )


def test_evaluate_says_where_the_store_is(runs: Path) -> None:
    said: list[str] = []
    found = evaluate(runs / "always", log=said.append)
    assert found["ranking"] == ranking(runs / "always")["ranking"]
    assert said[0].startswith(f"reading the store of kuairec-sample: {runs / 'stores'}")
    assert said[0].endswith("MB; it can be deleted at any time")


def test_a_second_stage_is_refused_before_a_store_is_built(tmp_path: Path) -> None:
    config = load_config("kuairec-sample-ranking", ["data.store=always", f"data.store_dir={tmp_path}"])
    with_ranker = config.model_copy(update={"ranker": RankerConfig()})
    with pytest.raises(ConfigError, match=r"\[ranker\] needs the training set in memory, .*'never'"):
        load_parts(with_ranker)
    assert list(tmp_path.iterdir()) == []
