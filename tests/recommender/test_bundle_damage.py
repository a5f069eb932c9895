"""A bundle whose hashes fit and whose content does not is refused, at once and with a `BundleError`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from test_bundle import SETTINGS, data

from bundle_damage import (
    MANIFEST,
    change_json,
    change_tensors,
    check_answers,
    copied,
    damaged,
    rehash,
)
from twotower.errors import BundleError, TwoTowerWarning
from twotower.estimator import TwoTower
from twotower.recommender import Recommender
from twotower.recommender.bundle import PARTS, read_bundle
from twotower.recommender.query import Query

OLD = Path(__file__).parent / "bundles"
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and links are POSIX's")


@pytest.fixture(scope="module")
def model() -> Recommender:
    return TwoTower(**SETTINGS, transform="duration_rank").fit(data())


@pytest.fixture(scope="module")
def saved(model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("saved") / "bundle"
    model.save(directory)
    return directory


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return copied(saved, tmp_path / "bundle")


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def refused(bundle: Path, words: str, **options: Any) -> None:
    rehash(bundle)
    with within(20), pytest.raises(BundleError, match=words or None):
        Recommender.load(bundle, **options)


def at(*way: Any, value: Any) -> Callable[[Any], None]:
    """Return what puts a value at a place of a JSON value; ``...`` deletes what is there."""

    def change(whole: Any) -> None:
        for key in way[:-1]:
            whole = whole[key]
        if value is ...:
            del whole[way[-1]]
        else:
            whole[way[-1]] = value

    return change


JSON: list[tuple[str, tuple[Any, ...], Any, str]] = [
    (MANIFEST, ("model", "dim"), 10**6, "of shape"),
    (MANIFEST, ("model", "dim"), 2**62, "of shape"),
    (MANIFEST, ("model", "dim"), "wide", "dim"),
    (MANIFEST, ("model", "hidden"), [10**9], "of shape|missing"),
    (MANIFEST, ("model", "hidden"), [1] * 100_000, "hidden layers"),
    (MANIFEST, ("model", "embedding_dim"), 10**12, "of shape"),
    (MANIFEST, ("model", "ensemble_size"), 3, "ensemble_size|of shape|members"),
    (MANIFEST, ("model", "unknown"), 1, "unknown"),
    (MANIFEST, ("model",), None, "model|valid"),
    (MANIFEST, ("schema", "users", "age"), "text", "age|lacks|missing"),
    (MANIFEST, ("schema", "user"), "somebody", "ids of users"),
    (MANIFEST, ("schema", "items", "ghost"), "number", "columns"),
    (MANIFEST, ("target", "sd"), 0, "sd"),
    (MANIFEST, ("target", "sd"), float("nan"), "sd"),
    (MANIFEST, ("target", "mean"), "0", "mean"),
    (MANIFEST, ("target", "logistic"), 1, "logistic"),
    (MANIFEST, ("target", "low"), ..., "low"),
    (MANIFEST, ("target", "transform", "name"), "pickle", "pickle"),
    (MANIFEST, ("target", "transform", "state", "edges"), [3.0, 1.0], "do not match"),
    (MANIFEST, ("target", "transform", "state", "quantiles"), [], "don't belong together|shape"),
    (MANIFEST, ("positive", "order"), None, "order"),
    (MANIFEST, ("positive", "threshold"), [1], "threshold"),
    (MANIFEST, ("objective", "name"), "best", "name"),
    (MANIFEST, ("least_squares", "cell"), -1.0, "range"),
    (MANIFEST, ("least_squares", "ridge"), 1e300, "range"),
    (MANIFEST, ("least_squares", "biased"), "yes", "biased"),
    (MANIFEST, ("least_squares", "more"), 1, "settings"),
    (MANIFEST, ("history",), "long", "history"),
    (MANIFEST, ("parts", "../secret"), "0", "damaged"),
    ("encoder.json", ("users", "columns", "age", "scale"), 0, "scale"),
    ("encoder.json", ("users", "columns", "age", "edges"), [], "edges"),
    ("encoder.json", ("users", "columns", "age", "edges"), [1.0, 1.0], "increasing"),
    ("encoder.json", ("users", "columns", "age", "edges"), [1.0, float("inf")], "finite"),
    ("encoder.json", ("users", "columns", "job", "values"), ["a", "a"], "distinct"),
    ("encoder.json", ("users", "columns", "job", "values"), ["a", 1], "type"),
    ("encoder.json", ("users", "columns", "job", "type"), "pickle", "pickle"),
    ("encoder.json", ("users", "columns", "job"), ..., "columns"),
    ("encoder.json", ("users", "warm_ids", "values"), [1, 1], "unique"),
    ("encoder.json", ("users", "warm_ids", "values"), [], "at least one"),
    ("encoder.json", ("users", "warm_ids", "values"), "abc", "list"),
    ("encoder.json", ("users", "warm_ids", "type"), "Object", "Object"),
    ("encoder.json", ("users", "warm_ids", "type"), "List(Int64)", "ids|type|list"),
    ("encoder.json", ("items", "columns", "face", "mean"), ["a"], "numbers"),
    ("encoder.json", ("items", "columns", "face", "mean"), [0.0] * 50, "of shape"),
    ("encoder.json", ("items", "columns", "face", "scale"), -1.0, "scale"),
    ("tables.json", ("users", "values", 0), None, "not null"),
    ("tables.json", ("users", "values", 0), 2**64, ""),
    ("tables.json", ("users", "values", 0), "x", ""),
    ("tables.json", ("users", "type"), "Float64", "ids"),
    ("tables.json", ("items", "values"), [1, 2, 3], "of shape"),
    ("tables.json", ("display", 0, "values"), ["a"], "length"),
    ("tables.json", ("display", 0, "name"), "stars", ""),
    ("tables.json", ("display", 0, "name"), "item_id", ""),
    ("tables.json", ("display", 0, "name"), 3, "name"),
    ("tables.json", ("display",), {}, ""),
]


@pytest.mark.parametrize(("part", "way", "value", "words"), JSON)
def test_a_wrong_value_is_refused(part: str, way: Any, value: Any, words: str, copy: Path) -> None:
    change_json(copy, part, at(*way, value=value))
    if part == "tables.json" and value == {}:  # no display columns at all: nothing is wrong with that
        rehash(copy)
        check_answers(Recommender.load(copy))
        return
    refused(copy, words)


def filled(name: str, value: Any, place: Any = ...) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name][place] = value

    return change


def replaced(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = make(arrays[name])

    return change


TENSORS: list[tuple[str, Callable[[dict[str, np.ndarray]], Any], str]] = [
    ("vectors", filled("users", np.nan, (0, 0)), "finite"),
    ("vectors", filled("items", np.inf, (3, 1)), "finite"),
    ("vectors", filled("items", 3e38), "scores"),
    ("vectors", filled("seen.item", 10**6, 0), "a row outside the"),
    ("vectors", filled("seen.item", -1, 0), "a row outside the"),
    ("vectors", filled("seen.indptr", 2**60, 3), "row pointers"),
    ("vectors", filled("seen.indptr", -5, 0), "row pointers"),
    ("vectors", filled("seen.label", np.nan, 0), "finite"),
    ("vectors", filled("users.warm", False), "no row of the users"),
    ("vectors", replaced("users", lambda a: a[:-1]), "of shape"),
    ("vectors", replaced("users", lambda a: a.astype(np.float64)), "must be float32"),
    ("vectors", replaced("users.warm", lambda a: a.astype(np.uint8)), "must be bool"),
    ("vectors", replaced("seen.item", lambda a: a.astype(np.int64)), "must be int32"),
    ("vectors", lambda arrays: arrays.pop("items"), "items"),
    ("vectors", lambda arrays: arrays.update(more=np.zeros(2)), "unexpected tensor"),
    ("towers", filled("users.ids.weight", np.nan, (0, 0)), "finite"),
    ("towers", replaced("users.ids.weight", lambda a: a[:, :-1]), "of shape"),
    ("towers", lambda arrays: arrays.pop("mean"), "mean"),
    ("towers", replaced("mean", lambda a: np.zeros(5, np.float32)), ""),
    ("encoder", filled("items.caption.idf", np.nan, 0), "finite"),
    ("encoder", replaced("items.caption.idf", lambda a: a[:5]), "of shape"),
    ("encoder", lambda arrays: arrays.pop("items.caption.mean"), "mean"),
    ("encoder", lambda arrays: arrays.update({"ghost.x": np.zeros(2)}), "no column"),
]


@pytest.mark.parametrize(("part", "change", "words"), TENSORS)
def test_a_wrong_tensor_is_refused(part: str, change: Any, words: str, copy: Path) -> None:
    change_tensors(copy, f"{part}.safetensors", change)
    refused(copy, words)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "1" * 5000, "", "null", "[]", "\ufeff{}"])
@pytest.mark.parametrize("part", [MANIFEST, "encoder.json", "tables.json"])
def test_a_wrong_text_is_refused(part: str, text: str, copy: Path) -> None:
    (copy / part).write_text(text, encoding="utf-8")
    refused(copy, "")


def test_a_file_of_a_terabyte_is_refused_before_it_is_read(copy: Path) -> None:
    for part in ("vectors.safetensors", "tables.json"):
        with (copy / part).open("r+b") as file:
            file.truncate(1 << 40)  # a hole, which needs no disk
        with within(5), pytest.raises(BundleError, match="of memory"):
            Recommender.load(copy)


@posix
@pytest.mark.parametrize("part", [MANIFEST, *PARTS])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "dead link", "loop"])
def test_a_part_that_is_no_file_is_refused_and_not_waited_for(part: str, kind: str, copy: Path) -> None:
    path = copy / part
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "dead link": "nothing", "loop": part}[kind])
    with within(5), pytest.raises(BundleError):
        Recommender.load(copy)


@posix
def test_a_link_to_a_file_is_read(copy: Path) -> None:
    (copy / "vectors.safetensors").rename(copy.parent / "blob")
    (copy / "vectors.safetensors").symlink_to("../blob")
    check_answers(Recommender.load(copy))


@posix
def test_under_a_link_that_flips_no_load_is_a_mixture(saved: Path, tmp_path: Path) -> None:
    one = copied(saved, tmp_path / "one")
    two = tmp_path / "two"
    TwoTower(**SETTINGS, seed=1, transform="duration_rank").fit(data(seed=1)).save(two)
    link, ends = tmp_path / "current", False
    link.symlink_to(one)

    def flip() -> None:
        while not ends:
            for target in (two, one):
                (tmp_path / "next").symlink_to(target)
                os.replace(tmp_path / "next", link)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        whole = {folder: Recommender.load(folder).users.vectors for folder in (one, two)}
        for _ in range(60):
            found, manifest = read_bundle(link, Recommender)
            own = next(
                f for f in whole if json.loads((f / MANIFEST).read_bytes())["hash"] == manifest["hash"]
            )
            assert np.array_equal(found.users.vectors, whole[own])
    finally:
        ends = True
        thread.join()


def test_a_save_meanwhile_gives_the_old_one_or_the_new_one(model: Recommender, copy: Path) -> None:
    other = TwoTower(**SETTINGS, seed=1, transform="duration_rank").fit(data(seed=1))
    vectors = [model.users.vectors, other.users.vectors]
    ends = False

    def save() -> None:
        while not ends:
            for one in (other, model):
                one.save(copy)

    thread = threading.Thread(target=save)
    thread.start()
    try:
        for _ in range(40):
            found = Recommender.load(copy).users.vectors
            assert any(np.array_equal(found, one) for one in vectors)
    finally:
        ends = True
        thread.join()


def test_a_bundle_of_format_2_still_loads() -> None:
    found = Recommender.load(OLD / "format_2" / "bundle")
    answers = json.loads((OLD / "format_2" / "answers.json").read_bytes())
    table = found.recommend(found.user_ids.to_list(), 5)
    assert table["item_id"].to_list() == answers["items"]
    assert table["score"].to_list() == pytest.approx(answers["scores"], rel=1e-5)


@pytest.mark.parametrize("version", ["format_3", "format_4"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_an_earlier_bundle_answers_as_the_version_that_wrote_it(version: str, kind: str) -> None:
    folder = OLD / version / kind
    found, answers = Recommender.load(folder / "bundle"), json.loads((folder / "answers.json").read_bytes())
    table = found.recommend(found.user_ids.to_list(), 5)
    assert table["item_id"].to_list() == answers["items"]
    assert table["score"].to_list() == pytest.approx(answers["scores"], rel=1e-5)
    lists = found.recommend(Query(history=[101, 103], labels=[5.0, 4.0]), 5)
    assert lists["item_id"].to_list() == answers["history"]
    assert lists["score"].to_list() == pytest.approx(answers["history_scores"], rel=1e-5)
    assert found.similar_items([101], k=3)["item_id"].to_list() == answers["similar"]
    vectors = found.encode_queries(Query(features={"age": 30.0}))
    np.testing.assert_allclose(vectors, [answers["vector"]], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "item_item"])
def test_lists_of_a_bundle_of_format_5_are_means(kind: str) -> None:
    folder = OLD / "format_5" / kind
    found, answers = Recommender.load(folder / "bundle"), json.loads((folder / "answers.json").read_bytes())
    table = found.recommend(found.user_ids.to_list(), 5)
    assert table["item_id"].to_list() == answers["items"]
    assert table["score"].to_list() == pytest.approx(answers["scores"], rel=1e-5)
    lists = found.recommend(Query(history=[101, 103], labels=[5.0, 4.0]), 5)
    assert lists["score"].to_list() == pytest.approx(answers["history_scores"], rel=1e-5)
    with pytest.warns(TwoTowerWarning, match="not known to the model"):
        vectors = found.encode_items(pl.DataFrame({"tags": answers["new"]}))
    np.testing.assert_allclose(vectors, answers["new_vectors"], rtol=1e-4, atol=1e-6)


def test_a_bundle_of_an_older_format_says_which_version_wrote_it() -> None:
    with pytest.raises(BundleError, match=r"has format 1, .* written by twotower 0\.1\.0.* train again"):
        Recommender.load(OLD / "format_1" / "bundle")


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_damaged_is_refused_or_answers(seed: int, saved: Path, tmp_path: Path) -> None:
    """A slice of ``benchmarks/bundle_fuzz.py``, which also damages indexes."""
    folder = copied(saved, tmp_path / "bundle")
    done = damaged(folder, random.Random(seed))
    with within(30):
        try:
            found = Recommender.load(folder)
        except BundleError:
            return
        try:
            check_answers(found)
        except Exception as error:
            raise AssertionError(done) from error
