"""Copies of bundles for several workers: whole ones only, mapped, and removed when they are not needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from twotower.errors import BundleError
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_bundle
from twotower.server import sharing
from twotower.server.merged_metrics import merged
from twotower.server.sharing import SharedCopies
from twotower.server.sockets import listening


@pytest.fixture
def copies(tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "_IN_MEMORY", tmp_path)
    monkeypatch.setattr(sharing.tempfile, "gettempdir", lambda: str(tmp_path))
    made = SharedCopies()
    yield made
    made.close()
    assert list(tmp_path.glob("twotower-serve-*")) == []


def test_a_mapped_copy_answers_like_the_bundle_whatever_becomes_of_that(copies, bundle, model, tmp_path):
    (copy,) = copies.copies({"run": bundle}).values()
    loaded, _ = read_bundle(copy, Recommender, mapped=True)
    shutil.rmtree(bundle)
    copies.keep({})
    assert not copy.exists()
    users = model.user_ids.to_list()
    assert loaded.recommend(users, k=5).equals(model.recommend(users, k=5))
    base = loaded.items.vectors
    while base.base is not None and hasattr(base.base, "base"):
        base = base.base
    assert type(base.base).__name__ in ("mmap", "memoryview")


@pytest.mark.parametrize("damage", ["flip", "lack", "none"])
def test_a_bundle_that_is_not_whole_is_not_given_to_workers(copies, bundle, tmp_path, damage):
    if damage == "flip":
        path = bundle / "vectors.safetensors"
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    elif damage == "lack":
        (bundle / "tables.json").unlink()
    else:
        shutil.rmtree(bundle)
    with pytest.raises(BundleError, match="can't be copied"):
        copies.copies({"run": bundle})


def test_copies_of_a_server_that_was_killed_are_removed(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(sharing, "_IN_MEMORY", tmp_path)
    monkeypatch.setattr(sharing.tempfile, "gettempdir", lambda: str(tmp_path))
    left = tmp_path / "twotower-serve-4194305"  # above the largest number of a process
    left.mkdir()
    other = tmp_path / "twotower-serve-else"
    other.mkdir()
    SharedCopies()
    assert not left.exists()
    assert other.exists()


def test_metrics_of_workers_add_up():
    one = (
        '# HELP a_total Said "so".\n# TYPE a_total counter\na_total{of="x\\"y"} 2.0\na_total{of="z"} 1.0\n'
        "# HELP h Seconds.\n# TYPE h histogram\n"
        'h_bucket{le="1.0"} 1.0\nh_bucket{le="+Inf"} 2.0\nh_count 2.0\nh_sum 3.5\n'
        "# HELP age Age.\n# TYPE age gauge\nage 7.0\n"
        "# HELP in_flight Now.\n# TYPE in_flight gauge\nin_flight 1.0\n"
    )
    two = one.replace('{of="z"} 1.0', '{of="new"} 5.0').replace("age 7.0", "age 9.0")
    lines = merged([one, two]).splitlines()
    assert 'a_total{of="x\\"y"} 4.0' in lines
    assert {'a_total{of="z"} 1.0', 'a_total{of="new"} 5.0', "h_sum 7.0", 'h_bucket{le="+Inf"} 4.0'} <= set(
        lines
    )
    assert {"age 9.0", "in_flight 2.0", "# TYPE a_total counter", "# HELP h Seconds."} <= set(lines)
    assert merged([merged([one])]) == merged([one])


def test_each_worker_has_a_socket_of_one_address():
    sockets = listening("127.0.0.1", 0, 3)
    try:
        assert len({one.getsockname() for one in sockets}) == 1
    finally:
        for one in sockets:
            one.close()


def test_nothing_of_these_is_large(tmp_path: Path):
    """The supervisor imports no torch: it would have as much in memory as a worker."""
    import subprocess
    import sys

    names = ("torch", "numba", "fastapi")
    code = "import sys, twotower.server.supervisor, twotower.server.worker\n"
    code += f"print(*(name in sys.modules for name in {names}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]
