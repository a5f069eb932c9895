"""An index that was changed, its hash made to fit, is refused before FAISS sees it; old ones still load."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
from safetensors.numpy import load, save

from twotower.errors import BundleError
from twotower.retrieval import INDEXES, Index, load_index

faiss = pytest.importorskip("faiss", reason="needs the extra ann")

Arrays = dict[str, np.ndarray]
PARAMETERS: dict[str, dict[str, int]] = {
    "hnsw": {"m": 2, "ef_search": 4},
    "ivf": {"nlist": 5, "nprobe": 2},
    "ivfpq": {"nlist": 5, "nprobe": 2, "m": 2, "refine": 2},
}


def vectors(n: int = 300, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def parts(path: Path) -> tuple[bytes, bytes]:
    """Return header and payload."""
    _, _, header, payload = path.read_bytes().split(b"\n", 3)
    return header, payload


def put(path: Path, header: bytes, payload: bytes, number: int = 2) -> None:
    """Write an index with a hash that fits."""
    body = header + b"\n" + payload
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(b"twotower index %d\n" % number + digest + b"\n" + body)


def blob(index: Any) -> bytes:
    """Return an index as FAISS writes it, which format 1 kept."""
    if index.name == "hnsw":
        return bytes(faiss.serialize_index(index._graph, faiss.IO_FLAG_SKIP_STORAGE))
    return bytes(faiss.serialize_index(index._lists))


@pytest.fixture(params=["hnsw", "ivfpq"])
def old(request: Any, tmp_path: Path) -> tuple[Path, Index]:
    """Give an index as version 1 saved it, and the index."""
    index = INDEXES[request.param].build(vectors(), **PARAMETERS[request.param])
    index.save(tmp_path / "index")
    header, _ = parts(tmp_path / "index")
    put(tmp_path / "index", header, blob(index), 1)
    return tmp_path / "index", index


def test_an_index_of_format_1_answers_as_before(old: tuple[Path, Index]) -> None:
    path, index = old
    found, users = load_index(path, vectors()), vectors(50, seed=1)
    for k in (1, 10):
        one, two = index.search(users, k), found.search(users, k)
        npt.assert_array_equal(one.items, two.items)
        npt.assert_array_equal(one.scores, two.scores)


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_index_of_format_1_is_refused_or_answers(old: tuple[Path, Index], seed: int) -> None:
    path, index = old
    header, _ = parts(path)
    changed, rng = bytearray(blob(index)), random.Random(seed)
    for _ in range(5):
        at = rng.randrange(len(changed) - 4)
        changed[at : at + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\0\0\0\x80", rng.randbytes(4)])
    put(path, header, bytes(changed), 1)
    try:
        found = load_index(path, vectors())
    except BundleError:
        return
    answer = found.search(vectors(50, seed=1), 10)
    assert np.isfinite(answer.scores).all()


def at(name: str, place: Any, value: int) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name][place] = value

    return change


def cut(name: str) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name][:-1]

    return change


def upper(arrays: Arrays) -> None:
    """Let an item of the upper layer be linked to one that is in the lowest alone."""
    levels, own = arrays["levels"], np.flatnonzero(arrays["levels"] > 1)
    starts = np.concatenate([[0], np.cumsum(4 + 2 * (levels - 1))])
    arrays["neighbors"][starts[own[0]] + 4] = int(np.flatnonzero(levels == 1)[-1])


DAMAGES: list[tuple[str, Callable[[Arrays], Any], str]] = [
    ("hnsw", at("neighbors", 0, 300), "none of the 300 items"),
    ("hnsw", at("neighbors", 7, 2**31 - 1), "none of the 300 items"),
    ("hnsw", at("neighbors", 7, -2), "none of the 300 items"),
    ("hnsw", at("entry", 0, -1), "begin"),
    ("hnsw", at("entry", 0, 10**9), "begin"),
    ("hnsw", at("levels", 0, 0), "layers"),
    ("hnsw", at("levels", 0, 2**31 - 1), "layers"),
    ("hnsw", at("levels", 0, 2), "links|begin"),
    ("hnsw", upper, "that is not in it"),
    ("hnsw", cut("neighbors"), "links"),
    ("hnsw", cut("levels"), "of shape"),
    ("hnsw", lambda arrays: arrays.pop("entry"), "entry"),
    ("ivf", at("nearest", 0, 5), "none of the 5 clusters"),
    ("ivf", at("nearest", 0, -1), "none of the 5 clusters"),
    ("ivf", lambda arrays: arrays["centroids"].fill(np.nan), "finite"),
    ("ivf", cut("centroids"), "of shape"),
    ("ivfpq", at("nearest", 0, 5), "none of the 5 clusters"),
    ("ivfpq", cut("codes"), "of shape"),
    ("ivfpq", cut("roundings"), "of shape"),
    ("ivfpq", lambda arrays: arrays["roundings"].fill(np.inf), "finite"),
    ("ivfpq", lambda arrays: arrays.pop("codes"), "codes"),
]


@pytest.mark.parametrize(("kind", "change", "words"), DAMAGES)
def test_changed_arrays_are_refused(kind: str, change: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "index"
    INDEXES[kind].build(vectors(), **PARAMETERS[kind]).save(path)
    header, payload = parts(path)
    arrays = {name: np.array(value) for name, value in load(payload).items()}
    change(arrays)
    put(path, header, save(arrays))
    with pytest.raises(BundleError, match=words):
        load_index(path, vectors())


@pytest.mark.parametrize("kind", list(PARAMETERS))
@pytest.mark.parametrize("value", [0, -1, 2**31, 10**30, 1.5, "2", None, [], True])
def test_wrong_parameters_are_refused(kind: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "index"
    INDEXES[kind].build(vectors(), **PARAMETERS[kind]).save(path)
    header, payload = parts(path)
    for name in PARAMETERS[kind]:
        fields = json.loads(header)
        fields["parameters"][name] = value
        put(path, json.dumps(fields).encode(), payload)
        with pytest.raises(BundleError):
            load_index(path, vectors())


@pytest.mark.parametrize("kind", list(PARAMETERS))
def test_the_greatest_parameters_of_a_search_take_no_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "index"
    INDEXES[kind].build(vectors(), **PARAMETERS[kind]).save(path)
    header, payload = parts(path)
    for name in ("ef_search", "nprobe", "refine"):
        fields = json.loads(header)
        if name in fields["parameters"]:
            fields["parameters"][name] = 2**31 - 1
            put(path, json.dumps(fields).encode(), payload)
            found = load_index(path, vectors()).search(vectors(5, seed=1), 3)
            assert (found.items >= 0).all()
