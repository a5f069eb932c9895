"""`tt.Ray` on a cluster of this machine: the same answers, killed workers, errors."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

import twotower as tt
from twotower.core.versions import differences, versions
from twotower.core.warn import warn
from twotower.data.dataset import TrainPart
from twotower.errors import ConfigError, MissingExtraError, TwoTowerWarning
from twotower.training import Interrupted
from twotower.training.gradients import Gradients
from twotower.workflows import recommend_all

SETTINGS = {"kind": "linear", "dim": 16, "regularisation": 0.33, "hard_weight": 0.0, "epochs": 3}


@pytest.fixture(scope="module")
def train() -> TrainPart:
    data = tt.datasets.load("kuairec-sample")
    return tt.split(data, "random", test=0.9, seed=42)[0]


@pytest.fixture(scope="module")
def alone(train: TrainPart) -> tt.Recommender:
    return tt.TwoTower(**SETTINGS).fit(train)


def same(one: tt.Recommender, other: tt.Recommender) -> None:
    npt.assert_allclose(one.users.vectors, other.users.vectors, atol=1e-5)
    npt.assert_allclose(one.items.vectors, other.items.vectors, atol=1e-5)
    assert [record["epoch"] for record in one.history] == [record["epoch"] for record in other.history]


def test_the_model_is_that_of_one_machine(cluster: tt.Ray, train: TrainPart, alone: tt.Recommender) -> None:
    same(tt.TwoTower(**SETTINGS).fit(train, engine=cluster), alone)


class KillsOne(tt.Callback):
    """Kills a worker while the second epoch is computed."""

    def __init__(self, cluster: tt.Ray) -> None:
        self.cluster = cluster
        self.killer = threading.Thread(target=self.kill)

    def kill(self) -> None:
        import ray

        time.sleep(0.01)
        ray.kill(self.cluster._team.actors[1])

    def on_epoch_end(self, record: dict) -> None:
        if record["epoch"] == 1 and record["phase"] == "train":
            self.killer.start()


def test_a_killed_worker_is_replaced(cluster: tt.Ray, train: TrainPart, alone: tt.Recommender) -> None:
    killer = KillsOne(cluster)
    with pytest.warns(TwoTowerWarning, match="a worker was lost .*: 1 replaced"):
        found = tt.TwoTower(**SETTINGS).fit(train, engine=cluster, callbacks=[killer])
    killer.killer.join()
    same(found, alone)


class Breaks(tt.Callback):
    """Ctrl-C in the second epoch."""

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def test_training_goes_on_from_the_checkpoint_without_ray(
    cluster: tt.Ray, train: TrainPart, alone: tt.Recommender, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        tt.TwoTower(**SETTINGS).fit(train, engine=cluster, checkpoints=tmp_path, callbacks=[Breaks()])
    same(tt.TwoTower(**SETTINGS).fit(train, checkpoints=tmp_path, resume=True), alone)


def test_what_does_not_run_on_ray_is_said(train: TrainPart) -> None:
    class Own(Gradients):
        """A trainer of someone's own."""

    with pytest.raises(ConfigError, match=r"the engine ray trains by 'als', .*; got trainer '.*Own'"):
        tt.TwoTower(kind="mlp", trainer=Own).fit(train, engine=tt.Ray())


@pytest.mark.parametrize("given", [{"workers": 0}, {"workers": 1.5}, {"cpus": True}])
def test_numbers_are_checked(given: dict) -> None:
    with pytest.raises(ConfigError, match="must be a whole number from 1"):
        tt.Ray(**given)


def test_an_address_is_checked() -> None:
    with pytest.raises(ConfigError, match="must be auto, HOST:PORT or ray://HOST:PORT, got 'nonsense'"):
        tt.Ray("nonsense")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there_is_said_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"none was reached or started at '{address}': .*refused"):
            tt.Ray(address).__enter__()


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from twotower.distributed import _ray

    def missing(name: str) -> None:
        raise ImportError(name)

    _ray.library.cache_clear()
    monkeypatch.setattr(_ray.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[ray\]'"):
        _ray.library()


def test_other_versions_are_told() -> None:
    here = versions()
    assert set(here) == {"twotower", "Python", "torch"}
    assert differences(here, dict(here)) == ""
    assert differences(here, here | {"torch": "1.0"}) == f"torch 1.0 instead of {here['torch']}"
    assert "Python missing instead of" in differences(here, {})


def test_a_cluster_with_other_versions_is_refused(cluster: tt.Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    from twotower.distributed import cluster as module

    monkeypatch.setattr(module, "versions", lambda: {"twotower": f"1.{os.getpid()}"})
    with pytest.raises(
        ConfigError, match=rf"need the same versions; .* has twotower 1\.\d+ instead of 1\.{os.getpid()}"
    ):
        tt.Ray().__enter__()


def test_an_evaluation_is_that_of_one_process(cluster: tt.Ray, alone: tt.Recommender) -> None:
    test = tt.split(tt.datasets.load("kuairec-sample"), "random", test=0.05, seed=1)[1]
    found, plain = (alone.evaluate(test, resamples=10, engine=engine) for engine in (cluster, None))
    assert found.as_dict() == plain.as_dict()


def test_lists_for_all_are_those_of_one_process(
    cluster: tt.Ray, alone: tt.Recommender, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also when a worker is killed in the middle."""
    found = alone.recommend_all(5, engine=cluster)
    assert pl.concat(found).equals(pl.concat(alone.recommend_all(5)))
    monkeypatch.setattr("twotower.recommender.recommender.USERS_AT_ONCE", 100)
    killed = []

    def kill(done: int, total: int) -> None:
        if not killed:
            killed.append(done)
            import ray

            ray.kill(cluster.team().actors[0])

    rows = recommend_all(alone, tmp_path / "ray.parquet", 5, engine=cluster, progress=kill)
    assert rows == recommend_all(alone, tmp_path / "plain.parquet", 5)
    assert len(killed) == 1
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes()


def test_what_workers_warn_of_is_said_here_once(cluster: tt.Ray) -> None:
    with pytest.warns(TwoTowerWarning, match="^a worker's text$") as told:
        assert list(cluster.map(warn, "a worker's text", [TwoTowerWarning] * 3)) == [None] * 3
    assert len(told) == 1


def test_results_come_in_order(cluster: tt.Ray) -> None:
    assert list(cluster.map(np.add, 3, range(7))) == [3, 4, 5, 6, 7, 8, 9]
