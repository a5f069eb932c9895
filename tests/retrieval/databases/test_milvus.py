"""Milvus: versions behind an alias, conditions that mean what ours mean, and what happens when it is gone."""

from __future__ import annotations

import errno
import fcntl
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest

from twotower.core.lists import Lists
from twotower.errors import BundleError, ConfigError, DataError, IndexUnavailable
from twotower.recommender.display import ColumnFilters
from twotower.retrieval import exact_top_k, recall
from twotower.retrieval.databases import (
    Columns,
    Items,
    VectorDatabase,
    database_at,
    milvus,
    open_index,
    publish_items,
)
from twotower.retrieval.databases.milvus import MilvusIndex, MilvusParameters

pytest.importorskip("pymilvus", reason="needs the extra milvus")
pytest.importorskip("milvus_lite", reason="needs the extra milvus")

N, DIM = 400, 6
FIRST, SECOND, THIRD = "a" * 12, "b" * 12, "c" * 12


def display(n: int = N) -> pl.DataFrame:
    """Return columns of every kind, with nulls, nan, empty lists, and names and texts that need care."""
    rng = np.random.default_rng(5)
    genres = ["comedy", 'say "no"', "back\\slash", "", "日本", "{x}", "it's"]
    years = [None if i % 9 == 0 else int(1990 + rng.integers(20)) for i in range(n)]
    return pl.DataFrame(
        {
            "row": [int(i) % 3 for i in range(n)],
            "the genre": [None if i % 7 == 0 else genres[i % 7] for i in range(n)],
            "year": years,
            "stars": [float("nan") if i % 5 == 0 else round(float(rng.uniform(0, 5)), 1) for i in range(n)],
            "short": pl.Series([i / 10 for i in range(n)], dtype=pl.Float32),
            "new": [None if i % 4 == 0 else i % 3 == 0 for i in range(n)],
            "tags": [None if i % 6 == 0 else genres[: i % 4] for i in range(n)],
            "marks": pl.Series([[i % 5, i % 3] for i in range(n)], dtype=pl.List(pl.Int64)),
        }
    )


def vectors(n: int = N, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def items(n: int = N, seed: int = 0, ids: pl.Series | None = None) -> Items:
    return Items(
        vectors(n, seed),
        pl.Series([f"item {i}" for i in range(n)]) if ids is None else ids,
        Columns(display(n)),
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[VectorDatabase, str]:
    database = database_at(f"milvus:{tmp_path_factory.mktemp('milvus') / 'films.db'}")
    return database, publish_items(database, items(), FIRST).collection


FILTERS: list[dict[str, Any]] = [
    {"row": 1},
    {"the genre": "comedy"},
    {"the genre": ["日本", "it's", "absent"]},
    {"the genre": ""},
    {"year": [1994, 1995.0, 1996.5]},
    {"year": {"min": 1994.5, "max": 2001}},
    {"year": {"max": 1e30}},
    {"year": {"min": 1e30}},
    {"year": {}},
    {"year": "1994"},
    {"year": True},
    {"stars": {"min": 2, "max": float("inf")}},
    {"stars": [2.5, 3]},
    {"short": {"min": 0.1, "max": 0.3}},
    {"new": True},
    {"new": [True, False]},
    {"new": 1},
    {"tags": ["comedy", "日本"]},
    {"marks": [4, 2]},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_a_condition_means_what_a_filter_means(published, filters) -> None:
    database, collection = published
    columns = Columns(display())
    conditions = [database.condition(columns, *one) for one in filters.items()]
    assert None not in conditions
    found = database.nearest(collection, vectors(1, 9), N, conditions, {"nlist": 1, "nprobe": 1})
    expected = ColumnFilters(display()).rows(filters)
    assert sorted(found[found >= 0].tolist()) == expected.tolist()


@pytest.mark.parametrize("choice", ['say "no"', ["comedy", "back\\slash"], "{x}", "line\nbreak", []])
def test_what_a_condition_could_not_say_is_not_sent(published, choice) -> None:
    database, _ = published
    assert database.condition(Columns(display()), "the genre", choice) is None


def test_lists_are_those_of_the_exact_scan(published) -> None:
    database, _ = published
    index = open_index(str(database.address), vectors(), display(), FIRST)
    users, columns = vectors(12, 3), ColumnFilters(display())
    assert index.waits
    index.check()
    rng = np.random.default_rng(1)
    seen = Lists.from_groups([rng.integers(N, size=u * 5) for u in range(12)])
    for filters in (None, {"year": {"min": 1995}}, {"the genre": 'say "no"'}, {"year": 1995, "new": True}):
        for deny in (None, rng.integers(N, size=30)):
            allow = None if filters is None else columns.rows(filters)
            right = exact_top_k(users, vectors(), 12, seen=seen, allow=allow, deny=deny)
            where = None if filters is None else columns.where(filters)
            for who in (slice(None), slice(7, 8)):
                own = seen.of(np.arange(12)[who])
                found = index.search(users[who], 12, seen=own, deny=deny, where=where)
                npt.assert_array_equal(found.items, right.items[who])
                npt.assert_array_equal(found.scores, right.scores[who])


def test_more_clusters_find_more() -> None:
    own, users = vectors(2000), vectors(20, 3)
    index, right = MilvusIndex.build(own, nlist=40), exact_top_k(users, own, 20)
    assert index.parameters() == {"nlist": 40, "nprobe": 5}
    found = [recall(index.with_search(nprobe=n), right, users, 20) for n in (1, 5, 40)]
    assert found[0] < found[1] < found[2] == 1
    with pytest.raises(ConfigError, match="'nlist' must not exceed the number of items, 2,000"):
        MilvusIndex.build(own, nlist=2001)
    large = MilvusIndex.chosen(MilvusParameters(), 1_000_000)
    assert (large.nlist, large.nprobe) == (4000, 500)


def test_a_pickled_index_connects_again(published) -> None:
    database, _ = published
    index = open_index(str(database.address), vectors(), display(), FIRST)
    again = pickle.loads(pickle.dumps(index))
    npt.assert_array_equal(again.search(vectors(2, 3), 5).items, index.search(vectors(2, 3), 5).items)


def test_versions_are_switched_at_once_and_old_ones_go(tmp_path: Path, monkeypatch) -> None:
    database = database_at(f"milvus:{tmp_path / 'films.db'}")
    first = publish_items(database, items(50), FIRST)
    assert (first.written, first.previous, first.removed, first.items) == (True, None, (), 50)
    again = publish_items(database, items(50), FIRST)
    assert (again.written, again.collection) == (False, first.collection)
    clusters = publish_items(database, items(50), FIRST, parameters={"nlist": 2})
    assert (clusters.written, clusters.parameters, clusters.removed) == (
        True,
        {"nlist": 2},
        (first.collection,),
    )
    old = open_index(str(database.address), vectors(50), display(50), FIRST)
    assert old.parameters()["nlist"] == 2

    second = publish_items(database, items(60, 1, pl.Series(range(60))), SECOND)
    assert (second.previous, second.removed) == (FIRST, ())
    assert [(one.version, one.complete, one.current) for one in database.versions()] == [
        (FIRST, True, False),
        (SECOND, True, True),
    ]
    # The earlier bundle is still answered from its own version, although that is written once more.
    publish_items(database, items(50), FIRST, parameters={"nlist": 1})
    publish_items(database, items(60, 1), SECOND)
    right = exact_top_k(vectors(3, 8), vectors(50), 4).items
    npt.assert_array_equal(old.with_search(nprobe=2).search(vectors(3, 8), 4).items, right)

    def fails(done: int) -> None:
        seen = [(one.version, one.complete, one.current) for one in database.versions()]
        assert (SECOND, True, True) in seen
        assert (THIRD, False, False) in seen
        with pytest.raises(BundleError, match=f"must have the bundle's version, {THIRD}; .* {SECOND}"):
            open_index(str(database.address), vectors(), display(), THIRD)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish_items(database, items(), THIRD, told=fails)
    assert {one.version for one in database.versions()} == {FIRST, SECOND}
    # One that was killed leaves a part, which nobody finds and the next one removes.
    monkeypatch.setattr(database, "remove", lambda collection: None)
    with pytest.raises(KeyboardInterrupt):
        publish_items(database, items(), THIRD, told=fails)
    monkeypatch.undo()
    assert [one.complete for one in database.versions()] == [True, True, False]
    third = publish_items(database, items(70, 2), THIRD, keep=1)
    assert len(third.removed) == 3
    with pytest.raises(IndexUnavailable, match="films_aaaaaaaaaaaa"):
        old.search(vectors(3, 8), 4)
    assert [(one.version, one.current) for one in database.versions()] == [(THIRD, True)]


def test_another_number_of_items_is_refused(published) -> None:
    database, _ = published
    with pytest.raises(BundleError, match=r"must have the bundle's 399 items; it has 400. Publish"):
        open_index(str(database.address), vectors(399), display(399), FIRST)


def test_wrong_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    database = database_at(f"milvus:{tmp_path / 'films.db'}")
    for wrong, message in [
        ({"keep": 0}, "keep must be a whole number of at least 1, got 0"),
        ({"parameters": {"nlists": 3}}, "takes nlist, nprobe; got 'nlists'. Did you mean 'nlist'"),
        ({"parameters": {"nprobe": 3}}, "'nprobe' is chosen when the index is searched"),
        ({"parameters": {"nlist": 51}}, "'nlist' must not exceed the number of items, 50"),
    ]:
        with pytest.raises(ConfigError, match=message):
            publish_items(database, items(50), FIRST, **wrong)
    bad = items(50)
    bad.vectors[3, 2] = np.nan
    with pytest.raises(DataError, match="item vectors must be finite; 1 are not"):
        publish_items(database, bad, FIRST)
    assert not (tmp_path / "films.db").exists()


def test_a_collection_of_this_name_is_not_touched(tmp_path: Path) -> None:
    from pymilvus import MilvusClient

    MilvusClient(str(tmp_path / "films.db")).create_collection("films", dimension=3)
    with pytest.raises(ConfigError, match="'films' must be free for an alias, but there is a collection"):
        publish_items(database_at(f"milvus:{tmp_path / 'films.db'}"), items(50), FIRST)


def test_a_server_that_is_gone_is_said_in_time(tmp_path: Path, monkeypatch) -> None:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    monkeypatch.setattr(milvus, "SECONDS", 0.5)
    monkeypatch.setenv("TWOTOWER_MILVUS_TOKEN", "root:secret")
    server, lite, port = start_server_in_thread(str(tmp_path / "server"))
    address = f"milvus://127.0.0.1:{port}/films"
    publish_items(database_at(address), items(50), FIRST)
    index = open_index(address, vectors(50), display(50), FIRST)
    assert (index.search(vectors(1, 2), 5).items >= 0).all()
    server.stop(grace=None).wait()
    lite.close()
    for ask in (
        index.check,
        lambda: index.search(vectors(1, 2), 5),
        lambda: publish_items(database_at(address), items(50), SECOND),
    ):
        with pytest.raises(IndexUnavailable, match=rf"{address} must be a vector database that a") as error:
            ask()
        assert "secret" not in str(error.value)


def test_a_file_that_can_not_be_opened_is_said(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "text.db").write_text("hello")
    with pytest.raises(IndexUnavailable, match="it is a file, and milvus-lite keeps a folder"):
        database_at(f"milvus:{tmp_path / 'text.db'}").versions()
    (tmp_path / "held.db").mkdir()
    with (tmp_path / "held.db" / "LOCK").open("w") as lock:  # as milvus-lite locks it
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IndexUnavailable, match="another process has it open"):
            database_at(f"milvus:{tmp_path / 'held.db'}").versions()

        def refuses(dir: Path) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(dir))

        monkeypatch.setattr(milvus.tempfile, "TemporaryFile", refuses)
        with pytest.raises(IndexUnavailable, match=r"held\.db can't be written to \(Read-only file system\)"):
            database_at(f"milvus:{tmp_path / 'held.db'}").versions()
    with pytest.raises(ConfigError, match="must lie in a folder that exists"):
        database_at(f"milvus:{tmp_path / 'no' / 'films.db'}").versions()


def test_the_token_comes_from_a_file(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("TWOTOWER_MILVUS_TOKEN", raising=False)
    monkeypatch.setenv("TWOTOWER_MILVUS_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(ConfigError, match="TWOTOWER_MILVUS_TOKEN_FILE must name a file that can be read"):
        milvus._token()
    (tmp_path / "token").write_text("from a file\n")
    assert milvus._token() == "from a file"
