"""The contract of every index, against brute force in NumPy, and what each kind promises beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.errors import BundleError, ConfigError, DataError, MissingExtraError
from twotower.retrieval import (
    INDEXES,
    ExactIndex,
    HnswIndex,
    Index,
    IvfIndex,
    IvfPqIndex,
    _faiss,
    exact_top_k,
    load_index,
    recall,
)
from twotower.retrieval.approximate import ApproximateIndex
from twotower.retrieval.databases.milvus import MilvusIndex
from twotower.retrieval.index import Parameters

N_ITEMS, DIM = 3000, 10


@pytest.fixture(autouse=True)
def _own_kinds_are_known_here_alone():
    with INDEXES.temporarily():
        yield


def clustered(n_items=N_ITEMS, dim=DIM, n_users=40, seed=0):
    """Items around a few dozen centres, their norms varied, and users near centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, dim))
    items = centres[rng.integers(30, size=n_items)] + 0.4 * rng.normal(size=(n_items, dim))
    items *= rng.lognormal(0, 0.3, size=(n_items, 1))
    users = centres[rng.integers(30, size=n_users)] + 0.4 * rng.normal(size=(n_users, dim))
    return items.astype(np.float32), users.astype(np.float32)


def lists_of(sets):
    indptr = np.cumsum([0, *map(len, sets)]).astype(np.int64)
    return indptr, np.array([i for some in sets for i in some], dtype=np.int32)


def best_seen(items, users, count):
    """The very items that each user would be given first, so that a filter takes the whole answer away."""
    return [list(row[:count]) for row in np.argsort(-(users @ items.T), axis=1)]


def check(result, items, users, k, candidates):
    """Full lists of distinct candidates, scores that are the dot products, best first, ties by lower row."""
    assert result.items.shape == result.scores.shape == (len(users), k)
    assert (result.items.dtype, result.scores.dtype) == (np.int32, np.float32)
    for u, user in enumerate(users):
        found, score = result.items[u], result.scores[u]
        n = min(k, len(candidates[u]))
        assert (found[n:] == -1).all()
        assert (score[n:] == -np.inf).all()
        given_items = found[:n].tolist()
        assert set(given_items) <= set(candidates[u])
        assert len(set(given_items)) == n
        npt.assert_allclose(score[:n], items[given_items].astype(float) @ user, rtol=1e-4, atol=1e-4)
        assert sorted(range(n), key=lambda j: (-score[j], found[j])) == list(range(n))


def everything(n=N_ITEMS, barred=()):
    barred = set(barred)
    return [i for i in range(n) if i not in barred]


@pytest.fixture(scope="module")
def data():
    return clustered()


@pytest.fixture(scope="module")
def built(data):
    """Return an index of the data, the same each time it is asked for: an index never changes."""
    indexes = {}

    def get(kind, parameters):
        if kind not in indexes:
            indexes[kind] = kind.build(data[0], **parameters)
        return indexes[kind]

    return get


class IndexContract:
    kind: type[Index]
    parameters: dict[str, int] = {}  # noqa: RUF012
    thorough: dict[str, int] = {}  # noqa: RUF012  (with these every item is found)

    @pytest.fixture
    def index(self, built):
        return built(self.kind, self.parameters)

    def test_is_found_by_the_name_that_it_is_saved_under(self):
        assert INDEXES[INDEXES.name_of(self.kind)] is self.kind

    def test_is_tried_with_what_it_says(self, data):
        items, users = data
        for parameters in self.kind.structures(N_ITEMS, DIM, 1):
            efforts = list(self.kind.build(items, **parameters).efforts(10))
            found = [recall(index, exact_top_k(users, items, 10), users, 10) for index in efforts]
            assert parameters.items() <= efforts[0].parameters().items()
            assert found[-1] == max(found) > 0.98

    def test_finds_most_of_the_best(self, index, data):
        items, users = data
        result = index.search(users, 10)
        check(result, items, users, 10, [everything()] * len(users))
        assert recall(index, exact_top_k(users, items, 10), users, 10) > 0.9

    def test_finds_all_with_effort(self, index, data):
        items, users = data
        thorough = index.with_search(**self.thorough)
        npt.assert_array_equal(thorough.search(users, 10).items, exact_top_k(users, items, 10).items)

    def test_scores_are_the_bits_of_the_exact_scan(self, index, data):
        items, users = data
        result, exact = index.search(users, 20), exact_top_k(users, items, N_ITEMS)
        for u in range(len(users)):
            score_of = dict(zip(exact.items[u].tolist(), exact.scores[u], strict=True))
            npt.assert_array_equal(result.scores[u], [score_of[i] for i in result.items[u].tolist()])

    @pytest.mark.parametrize("count", [1, 15, 120, 2900])
    def test_lists_are_full_whatever_was_seen(self, index, data, count):
        items, users = data
        seen = best_seen(items, users, count)
        result = index.search(users, 20, seen=lists_of(seen))
        check(result, items, users, 20, [everything(barred=some) for some in seen])

    @pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 0.99])
    @pytest.mark.parametrize("as_mask", [True, False])
    def test_lists_are_full_whatever_is_allowed_or_denied(self, index, data, share, as_mask):
        items, users = data
        mask = np.random.default_rng(1).random(N_ITEMS) < share
        rows = np.flatnonzero(mask)
        given_as = mask if as_mask else np.random.default_rng(2).permutation(rows)
        allowed = index.search(users, 7, allow=given_as)
        check(allowed, items, users, 7, [rows.tolist()] * len(users))
        denied = index.search(users, 7, deny=given_as)
        check(denied, items, users, 7, [np.flatnonzero(~mask).tolist()] * len(users))

    def test_all_filters_at_once(self, index, data):
        items, users = data
        seen = best_seen(items, users, 50)
        allow, deny = np.arange(0, N_ITEMS, 2), np.arange(0, N_ITEMS, 3)
        left = set(allow.tolist()) - set(deny.tolist())
        result = index.search(users, 9, seen=lists_of(seen), allow=allow, deny=deny)
        check(result, items, users, 9, [sorted(left - set(some)) for some in seen])

    def test_a_user_who_has_seen_everything_gets_nothing(self, index, data):
        _, users = data
        seen = [range(N_ITEMS), [], *[[3]] * (len(users) - 2)]
        result = index.search(users, 4, seen=lists_of(seen))
        assert (result.items[0] == -1).all()
        assert (result.items[1:] >= 0).all()

    def test_nothing_allowed_gives_nothing(self, index, data):
        _, users = data
        for filters in ({"allow": []}, {"deny": np.ones(N_ITEMS, bool)}, {"allow": [5], "deny": [5]}):
            assert (index.search(users, 3, **filters).items == -1).all()

    def test_duplicates_in_seen_change_nothing(self, index, data):
        items, users = data
        seen = best_seen(items, users, 30)
        twice = index.search(users, 10, seen=lists_of([[*some, *some] for some in seen]))
        npt.assert_array_equal(twice.items, index.search(users, 10, seen=lists_of(seen)).items)

    def test_k_beyond_the_catalogue_is_filled_up(self, index, data):
        items, users = data
        result = index.search(users[:3], N_ITEMS + 5)
        check(result, items, users[:3], N_ITEMS + 5, [everything()] * 3)

    def test_no_users(self, index):
        assert index.search(np.empty((0, DIM), np.float32), 3).items.shape == (0, 3)

    @pytest.mark.parametrize("k", [0, -1, 1.5, True])
    def test_k_must_be_a_whole_number_of_at_least_one(self, index, data, k):
        with pytest.raises(ConfigError, match="`k` must be a whole number of at least 1"):
            index.search(data[1], k)

    def test_arguments_that_do_not_fit_are_refused(self, index, data):
        _, users = data
        with pytest.raises(DataError, match=r"the width of the items', 10; got shape \(40, 9\)"):
            index.search(users[:, :9], 1)
        with pytest.raises(DataError, match="`seen` must be"):
            index.search(users, 1, seen=lists_of([[0]]))
        with pytest.raises(DataError, match="`allow` must name items"):
            index.search(users, 1, allow=[N_ITEMS])
        with pytest.raises(DataError, match=r"`deny` as a mask must have shape \(3000,\)"):
            index.search(users, 1, deny=[True])

    def test_a_user_that_is_not_finite_is_answered_as_by_the_scan(self, index, data):
        items, users = data
        users = users.copy()
        users[0], users[1, 0] = np.nan, np.inf
        result, exact = index.search(users, 5), exact_top_k(users[:2], items, 5)
        npt.assert_array_equal(result.items[:2], exact.items)
        assert (result.items[0] == -1).all()
        assert (result.items[2:] >= 0).all()

    def test_searches_at_once_are_the_ones_after_each_other(self, index, data):
        items, users = data
        seen = best_seen(items, users, 25)
        ask = [(users[i : i + 20], lists_of(seen[i : i + 20])) for i in range(20)]

        def answer(question):
            return index.search(question[0], 8, seen=question[1]).items

        alone = [answer(question) for question in ask]
        with ThreadPoolExecutor(4) as pool:
            for one, other in zip(alone, pool.map(answer, ask), strict=True):
                npt.assert_array_equal(one, other)

    def test_built_again_it_answers_the_same(self, index, data):
        items, users = data
        again = self.kind.build(items.copy(), **self.parameters)
        npt.assert_array_equal(again.search(users, 10).items, index.search(users, 10).items)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_vectors_that_are_not_finite_are_refused(self, bad):
        items, _ = clustered(50)
        items[[7, 9], 2] = bad
        with pytest.raises(DataError, match="2 of 50 are not, the first in row 7"):
            self.kind.build(items)

    @pytest.mark.parametrize("items", [np.empty((0, 3)), np.empty((3, 0)), np.ones(3), np.full((2, 2), "a")])
    def test_what_is_no_matrix_of_numbers_is_refused(self, items):
        with pytest.raises(DataError, match="item vectors must be a matrix of numbers"):
            self.kind.build(items)

    def test_vectors_of_zeros_are_no_special_case(self):
        items = np.zeros((400, 4), np.float32)
        result = self.kind.build(items).search(np.ones((2, 4), np.float32), 5)
        check(result, items, np.ones((2, 4), np.float32), 5, [everything(400)] * 2)

    def test_unknown_parameters_are_refused(self, index, data):
        with pytest.raises(ConfigError, match="got 'nprobes'"):
            self.kind.build(data[0], nprobes=3)
        with pytest.raises(ConfigError, match=r"can be changed after .* index is built; got 'seed'"):
            index.with_search(seed=3)
        for name in self.kind.build(data[0][:300]).parameters():
            for value in (0, -2, 2.0, True):
                with pytest.raises(ConfigError, match=f"'{name}' must be a whole number of at least 1"):
                    self.kind.build(data[0], **{name: value})

    def test_other_search_parameters_leave_the_index_as_it_is(self, index):
        before = index.parameters()
        other = index.with_search(**self.thorough)
        assert other.parameters() == {**before, **self.thorough}
        assert index.parameters() == before
        assert all(value >= 1 for value in before.values())

    def test_saved_and_read_it_answers_the_same(self, index, data, tmp_path):
        items, users = data
        path = tmp_path / "index"
        index.save(path)
        assert [p.name for p in tmp_path.iterdir()] == ["index"]
        for loaded in (load_index(path, items), self.kind.load(path, items.copy())):
            assert type(loaded) is self.kind
            assert loaded.parameters() == index.parameters()
            assert (loaded.n_items, loaded.dim, loaded.memory) == (N_ITEMS, DIM, index.memory)
            result, kept = loaded.search(users, 12), index.search(users, 12)
            npt.assert_array_equal(result.items, kept.items)
            npt.assert_array_equal(result.scores, kept.scores)
        del loaded, result
        again = load_index(path, items)
        again.save(path)  # over the old one
        npt.assert_array_equal(load_index(path, items).search(users, 12).items, kept.items)

    def test_a_saved_index_is_refused_for_other_vectors(self, index, data, tmp_path):
        items, _ = data
        index.save(tmp_path / "index")
        other = items.copy()
        other[17, 3] = np.nextafter(other[17, 3], np.float32(9))
        with pytest.raises(BundleError, match="built for other item vectors of the same shape"):
            load_index(tmp_path / "index", other)
        for shape in (items[:-1], items[:, :-1], items.reshape(DIM, -1)):
            with pytest.raises(BundleError, match="built for 3000 items of dim 10"):
                self.kind.load(tmp_path / "index", shape)

    def test_a_saved_index_that_is_cut_or_changed_is_refused(self, index, data, tmp_path):
        path = tmp_path / "index"
        index.save(path)
        whole = path.read_bytes()
        for length in (0, 5, 20, 90, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(BundleError, match=r"changed or truncated|doesn't begin like one"):
                load_index(path, data[0])
        for at in (100, 200, len(whole) - 1):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(BundleError, match="its hash does not match"):
                load_index(path, data[0])


@dataclass(frozen=True)
class PrefixParameters(Parameters):
    of_search = ("columns",)

    columns: int = 8


class Prefix(ApproximateIndex):
    """An index of one's own: proposes items by the first columns of the vectors alone."""

    name = "prefix"
    scans_per_fetch = 1
    _kind = PrefixParameters

    @classmethod
    def _build(cls, items, parameters):
        return cls(items, parameters)

    def efforts(self, k):
        return (self.with_search(columns=columns) for columns in (4, 8, 16))

    def _first_fetch(self, k):
        return 20 * k

    def _nearest(self, users, fetch, effort):
        columns = self._parameters.columns * effort
        scores = [self.items[:, :columns] @ user[:columns] for user in users]
        return np.array([np.argsort(-of, kind="stable")[:fetch] for of in scores]).reshape(len(users), fetch)

    @property
    def memory(self):
        return 0

    def _payload(self):
        return b""

    @classmethod
    def _restore(cls, items, parameters, payload):
        if payload:
            raise ValueError("there is nothing to read")
        return cls(items, parameters)


class TestPrefix(IndexContract):
    kind, thorough = Prefix, {"columns": DIM}

    def test_a_saved_index_needs_its_class(self, index, data, tmp_path):
        with INDEXES.temporarily(Prefix):
            index.save(tmp_path / "index")
        with pytest.raises(
            BundleError, match=r"it is '.*:Prefix'. Import the module of this class and register"
        ):
            load_index(tmp_path / "index", data[0])
        INDEXES.register(Prefix)
        assert isinstance(load_index(tmp_path / "index", data[0]), Prefix)


def test_every_registered_kind_keeps_the_contract():
    assert {test.kind for test in IndexContract.__subclasses__()} - {Prefix} == {
        INDEXES[name] for name in INDEXES if ":" not in name
    }


class TestExact(IndexContract):
    kind = ExactIndex

    def test_is_the_exact_scan(self, index, data):
        items, users = data
        assert index.memory == 0
        seen = lists_of(best_seen(items, users, 30))
        ours, exact = index.search(users, 9, seen=seen), exact_top_k(users, items, 9, seen=seen)
        npt.assert_array_equal(ours.items, exact.items)
        npt.assert_array_equal(ours.scores, exact.scores)


class TestHnsw(IndexContract):
    kind = HnswIndex
    parameters = {"m": 12, "ef_construction": 60, "ef_search": 150}  # noqa: RUF012
    thorough = {"ef_search": 2000}  # noqa: RUF012

    def test_something_must_be_joined(self, data):
        with pytest.raises(ConfigError, match="'m' must be at least 2"):
            HnswIndex.build(data[0], m=1)

    def test_the_vectors_are_not_saved_again(self, index, tmp_path):
        index.save(tmp_path / "index")
        assert (tmp_path / "index").stat().st_size < index.memory - index.items.nbytes + 50_000

    def test_the_norm_is_a_percentage(self, data):
        with pytest.raises(ConfigError, match="'damping' is a percentage, at most 100; got 101"):
            HnswIndex.build(data[0], damping=101)

    def test_long_vectors_do_not_hide_the_others(self):
        # A graph of inner products leads to the few long vectors, and from there to nothing else.
        items, users = clustered(4000, 16, 60, seed=3)
        faiss = _faiss.faiss()
        plain = faiss.IndexHNSWFlat(16, 16, faiss.METRIC_INNER_PRODUCT)
        plain.hnsw.efConstruction, plain.hnsw.efSearch = 100, 200
        plain.add(items)
        exact = exact_top_k(users, items, 100)
        found = plain.search(users, 100)[1]
        theirs = np.mean([np.isin(a, b).mean() for a, b in zip(found, exact.items, strict=True)])
        ours = recall(HnswIndex.build(items, m=16, ef_construction=100, ef_search=200), exact, users, 100)
        assert theirs + 0.1 < ours
        assert ours > 0.9


class TestIvf(IndexContract):
    kind = IvfIndex
    parameters = {"nlist": 60, "nprobe": 12}  # noqa: RUF012
    thorough = {"nprobe": 60}  # noqa: RUF012

    def test_clusters_are_chosen(self, data):
        assert IvfIndex.build(data[0]).parameters()["nlist"] == 4 * 54  # the root of 3000 is 54.8

    def test_no_more_clusters_than_items(self, data):
        with pytest.raises(ConfigError, match="'nlist' must not exceed the number of items, 20; got 21"):
            self.kind.build(data[0][:20], nlist=21)


@pytest.mark.skipif(not find_spec("milvus_lite"), reason="needs the extra milvus")
class TestMilvus(IndexContract):
    kind = MilvusIndex
    parameters = {"nlist": 60, "nprobe": 30}  # noqa: RUF012
    thorough = {"nprobe": 60}  # noqa: RUF012


class TestIvfPq(IndexContract):
    kind = IvfPqIndex
    parameters = {"nlist": 60, "nprobe": 12, "m": 5, "refine": 8}  # noqa: RUF012
    thorough = {"nprobe": 60, "refine": 40}  # noqa: RUF012

    def test_codes_are_smaller_than_vectors(self, index):
        assert index.memory < index.items.nbytes

    def test_a_dim_that_is_no_multiple_of_m_is_padded(self, data):
        items, users = data
        index = IvfPqIndex.build(items, m=4, nlist=60, nprobe=60, refine=40)
        npt.assert_array_equal(index.search(users, 10).items, exact_top_k(users, items, 10).items)

    def test_no_more_pieces_than_columns(self, data):
        with pytest.raises(ConfigError, match="'m' must not exceed dim, 10; got 11"):
            IvfPqIndex.build(data[0], m=11)


@pytest.mark.parametrize(
    "kind", [*(kind for kind in INDEXES.classes() if kind.tried), Prefix], ids=lambda kind: kind.name
)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 60), count=st.integers(0, 80))
def test_alone_as_in_a_batch(kind, seed, k, count):
    items, users = clustered(1000, 9, 40, 1)
    index = _built_small(kind)
    rng = np.random.default_rng(seed)
    seen = [rng.integers(1000, size=rng.integers(count + 1)).tolist() for _ in users]
    deny = rng.integers(1000, size=count)
    batch = index.search(users, k, seen=lists_of(seen), deny=deny)
    check(batch, items, users, k, [everything(1000, [*some, *deny]) for some in seen])
    for u in (0, 7, 39):
        alone = index.search(users[u : u + 1], k, seen=lists_of([seen[u]]), deny=deny)
        npt.assert_array_equal(alone.items[0], batch.items[u])
        npt.assert_array_equal(alone.scores[0], batch.scores[u])


@cache
def _built_small(kind):
    return kind.build(clustered(1000, 9, 40, 1)[0])


@pytest.mark.parametrize(
    "kind", [*(kind for kind in INDEXES.classes() if kind.tried), Prefix], ids=lambda kind: kind.name
)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), n_items=st.integers(1, 60), dim=st.integers(1, 5), k=st.integers(1, 70))
def test_small_catalogues_full_of_ties(kind, seed, n_items, dim, k):
    rng = np.random.default_rng(seed)
    items = rng.integers(-1, 2, size=(n_items, dim)).astype(np.float32)
    users = rng.integers(-1, 2, size=(5, dim)).astype(np.float32)
    seen = [rng.integers(n_items, size=rng.integers(n_items + 1)).tolist() for _ in users]
    result = kind.build(items).search(users, k, seen=lists_of(seen))
    check(result, items, users, k, [everything(n_items, some) for some in seen])


def test_an_index_of_another_kind_is_refused(tmp_path):
    items, _ = clustered(50)
    ExactIndex.build(items).save(tmp_path / "index")
    with pytest.raises(BundleError, match="of the kind 'exact', not 'hnsw'"):
        HnswIndex.load(tmp_path / "index", items)


def test_a_file_that_is_no_index_is_refused(tmp_path):
    items, _ = clustered(50)
    with pytest.raises(BundleError, match="can't be read: No such file"):
        load_index(tmp_path / "none", items)
    with pytest.raises(BundleError, match="can't be read: it must be a regular file, and is a folder"):
        load_index(tmp_path, items)
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(BundleError, match="doesn't begin like one"):
        load_index(tmp_path / "text", items)


def rewritten(path: Path, format_version=1, payload=b"", **changes):
    """Write an index file with a right hash and a header of our choice."""
    import hashlib

    body = json.loads(path.read_bytes().split(b"\n", 3)[2]) | changes
    rest = json.dumps(body).encode() + b"\n" + payload
    head = f"twotower index {format_version}\n{hashlib.sha256(rest).hexdigest()}\n"
    path.write_bytes(head.encode() + rest)


def test_whole_files_that_make_no_sense_are_refused(tmp_path):
    items, _ = clustered(50)
    path = tmp_path / "index"
    ExactIndex.build(items).save(path)
    for wrong, message in [
        ({"format_version": 3}, "has format 3, this version reads up to 2"),
        ({"kind": "hyper"}, "it is 'hyper'"),
        ({"extra": 1}, "a header that can't be read"),
        ({"payload": b"x"}, "no data after its header"),
        ({"kind": "hnsw", "parameters": {"m": 3}}, "can't be read"),
        ({"kind": "ivf", "parameters": {"nlist": 3}, "payload": b"x"}, "can't be read|SafetensorError"),
        ({"kind": "ivfpq", "parameters": {"n": 3}}, "can't be read"),
    ]:
        ExactIndex.build(items).save(path)
        rewritten(path, **wrong)
        with pytest.raises(BundleError, match=message):
            load_index(path, items)


def test_an_index_that_can_not_be_written_leaves_nothing(tmp_path):
    index = ExactIndex.build(clustered(50)[0])
    with pytest.raises(
        BundleError, match=rf"could not write {tmp_path}/no/folder: .*no partial file is left"
    ):
        index.save(tmp_path / "no" / "folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleError, match=rf"could not write {tmp_path}/folder: .*no partial file is left"):
        index.save(tmp_path / "folder")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivfpq"])
def test_without_faiss_it_says_what_to_install(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it fails
    _faiss.faiss.cache_clear()
    try:
        with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[ann\]'"):
            INDEXES[kind].build(clustered(50)[0])
        assert ExactIndex.build(clustered(50)[0]).n_items == 50
    finally:
        _faiss.faiss.cache_clear()


def test_faiss_is_imported_only_when_asked_for():
    code = "import sys, twotower.retrieval; sys.exit('faiss' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_threads_of_faiss_are_as_before_after_use():
    faiss = _faiss.faiss()
    before = faiss.omp_get_max_threads()
    with _faiss.threads(before + 2):
        assert faiss.omp_get_max_threads() == before + 2
    items, users = clustered(900)
    HnswIndex.build(items, threads=2).search(users, 3)
    IvfPqIndex.build(items, threads=2).search(users, 3)
    assert faiss.omp_get_max_threads() == before
