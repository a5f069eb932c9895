"""A process that forks: work after Polars has begun is refused at once, work before is as good as any."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from twotower.data.dataset import Dataset
from twotower.estimator import TwoTower

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

CHILD = """
import os, sys, traceback
import polars as pl
import twotower as tt

def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            found = work()
            print("found", found, flush=True)
        except tt.TwoTowerError as error:
            print(type(error).__name__, error, flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.waitpid(pid, 0)

folder = sys.argv[1]
"""
WORKS = {
    "recommend": "m.recommend(1, 2)",
    "recommend, a query": "m.recommend(tt.Query(history=1), 2)",
    "recommend_all": "list(m.recommend_all(2))",
    "similar_items": "m.similar_items(1, 2)",
    "similar_users": "m.similar_users(1, 2)",
    "users_for": "m.users_for(1, 2)",
    "item_vectors": "m.item_vectors()",
    "score": "m.score(pairs)",
    "search": "m.search(m.users.vectors, 2)",
    "explain": "m.explain(1, 2)",
    "encode_queries": "m.encode_queries(tt.Queries.of(features=pairs))",
    "predict": "m.predict(data)",
    "evaluate": "m.evaluate(data)",
    "fit": "tt.TwoTower(dim=8).fit(data.as_train())",
    "split": "tt.split(data, test=0.5)",
    "load": "tt.load(folder)",
    "save": "m.save(folder + '2')",
    "read_table": "tt.read_table(folder + '/x.csv')",
    "Dataset.of": "tt.Dataset.of(data.interactions, schema={})",
    "datasets.load": "tt.datasets.load('kuairec-sample')",
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    events = pl.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": [1, 2, 2, 3, 3, 1]})
    folder = tmp_path_factory.mktemp("fork") / "bundle"
    TwoTower(dim=8, threads=1, epochs=2).fit(Dataset.of(events, schema={}).as_train()).save(folder)
    return folder


def told(code: str, folder: Path, seconds: float = 120) -> list[str]:
    """Run code in a process of its own, which must end in time, and return what its children printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD + code, folder],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if line]


@pytest.fixture(scope="module")
def lines(bundle: Path) -> list[str]:
    """Return what the children of one process print, the first before it loads the bundle, then itself."""
    code = (
        "import twotower.recommender\n"  # with torch, once for both
        "in_child(lambda: tt.load(folder).recommend(1, 2).height)\n"
        "m = tt.load(folder)\n"
        "pairs = pl.DataFrame({'user_id': [1, 2], 'item_id': [3, 1]})\n"
        "data = tt.Dataset.of(pairs, schema={})\n"
    )
    works = "".join(f"in_child(lambda: {work})\n" for work in WORKS.values())
    lines = told(
        code + works + "print('parent', m.recommend(1, 1).height, 'torch._dynamo' in sys.modules)\n", bundle
    )
    assert len(lines) == len(WORKS) + 2
    return lines


def test_every_kind_of_work_is_refused_in_a_child_of_a_process_that_has_loaded(lines: list[str]) -> None:
    for name, line in zip(WORKS, lines[1:-1], strict=True):
        assert line.startswith("ForkedProcessError process"), f"{name}: {line}"
        assert "without --preload" in line
        assert "'spawn'" in line


def test_a_child_that_loads_for_itself_is_served(lines: list[str]) -> None:
    assert lines[0].startswith("found ")


def test_a_parent_that_used_polars_itself_is_seen(bundle: Path) -> None:
    code = "a = pl.DataFrame({'a': [1, 2]})\na.join(a, on='a')\nin_child(lambda: tt.load(folder))\n"
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are known by /proc")
    assert told(code, bundle)[0].startswith("ForkedProcessError")


def test_the_parent_goes_on(lines: list[str]) -> None:
    assert lines[-1].startswith("parent 1 ")


def test_a_model_is_loaded_without_the_second_that_torchs_compiler_takes(lines: list[str]) -> None:
    assert lines[-1].endswith(" False")
