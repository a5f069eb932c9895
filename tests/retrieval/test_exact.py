from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.errors import ConfigError, DataError
from twotower.retrieval import exact_top_k
from twotower.retrieval.exact import turned


def by_sorting(users, items, k, seen_sets=None, allowed=None):
    """Sort every candidate by (score falling, item rising)."""
    found = np.full((len(users), k), -1)
    scores = np.full((len(users), k), -np.inf)
    for u, user in enumerate(users):
        candidates = [
            (-float(user @ items[i]), i)
            for i in range(len(items))
            if (seen_sets is None or i not in seen_sets[u]) and (allowed is None or i in allowed)
        ]
        for rank, (negative, i) in enumerate(sorted(candidates)[:k]):
            found[u, rank], scores[u, rank] = i, -negative
    return found, scores


def as_seen(seen_sets):
    indptr = np.cumsum([0, *map(len, seen_sets)]).astype(np.int64)
    return indptr, np.array([i for s in seen_sets for i in s], dtype=np.int32)


def small_integers(rng, *shape):
    """Whole numbers: scores are exact in any order of summation, and many are equal."""
    return rng.integers(-2, 3, size=shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_users=st.integers(1, 40),
    n_items=st.integers(1, 150),
    width=st.integers(1, 9),
    k=st.integers(1, 160),
    with_seen=st.booleans(),
    allow=st.sampled_from(["all", "mask", "rows"]),
    deny=st.sampled_from(["none", "mask", "rows"]),
    tiles=st.booleans(),
)
def test_is_what_sorting_gives(seed, n_users, n_items, width, k, with_seen, allow, deny, tiles):
    rng = np.random.default_rng(seed)
    users, items = small_integers(rng, n_users, width), small_integers(rng, n_items, width)
    seen_sets = [list(rng.integers(n_items, size=rng.integers(20))) for _ in users] if with_seen else None
    mask = rng.random(n_items) < 0.5
    barred = rng.random(n_items) < 0.3
    allowed = set(range(n_items)) if allow == "all" else set(np.flatnonzero(mask))
    if deny != "none":
        allowed -= set(np.flatnonzero(barred))
    result = exact_top_k(
        users,
        items,
        k,
        seen=None if seen_sets is None else as_seen(seen_sets),
        allow={"all": None, "mask": mask, "rows": rng.permutation(np.flatnonzero(mask))}[allow],
        deny={"none": None, "mask": barred, "rows": rng.permutation(np.flatnonzero(barred))}[deny],
        tiles=turned(items) if tiles else None,
    )
    found, scores = by_sorting(users, items, k, seen_sets, allowed)
    npt.assert_array_equal(result.items, found)
    npt.assert_array_equal(result.scores, scores)
    assert (result.items.dtype, result.scores.dtype) == (np.int32, np.float32)


def test_equal_scores_go_by_lower_item():
    result = exact_top_k(np.ones((1, 2), np.float32), np.ones((100, 2), np.float32), 5)
    assert result.items.tolist() == [[0, 1, 2, 3, 4]]


def test_fewer_candidates_than_k_are_filled():
    items = np.array([[1.0], [3.0], [2.0]], dtype=np.float32)
    result = exact_top_k(np.ones((2, 1), np.float32), items, 4, seen=as_seen([[1], [0, 1, 2]]))
    assert result.items.tolist() == [[2, 0, -1, -1], [-1, -1, -1, -1]]
    assert result.scores.tolist() == [[2, 1, -np.inf, -np.inf], [-np.inf] * 4]


@pytest.mark.parametrize("width", [1, 7, 64, 66])
def test_a_user_alone_gets_the_same_bits_as_in_a_batch(width):
    rng = np.random.default_rng(0)
    users = rng.normal(size=(70, width)).astype(np.float32)
    items = rng.normal(size=(333, width)).astype(np.float32)
    batch = exact_top_k(users, items, 20)
    for u in (0, 1, 17, 69):
        alone = exact_top_k(users[u : u + 1], items, 20)
        npt.assert_array_equal(alone.items[0], batch.items[u])
        npt.assert_array_equal(alone.scores[0], batch.scores[u])
    exact = users.astype(float) @ items.astype(float).T
    npt.assert_allclose(batch.scores, -np.sort(-exact, axis=1)[:, :20], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [1, 7, 8, 64, 66])
@pytest.mark.parametrize("n_users", [1, 2, 3, 16, 17, 300])
def test_every_way_to_score_a_tile_gives_the_same_bits(width, n_users):
    rng = np.random.default_rng(1)
    users = rng.normal(size=(n_users, width)).astype(np.float32)
    items = rng.normal(size=(200, width)).astype(np.float32)
    batch, tiles = exact_top_k(users, items, 200), turned(items)
    for u in range(0, n_users, 29):
        for kept in (None, tiles):
            alone = exact_top_k(users[u : u + 1], items, 200, tiles=kept)
            npt.assert_array_equal(alone.scores[0], batch.scores[u])
            npt.assert_array_equal(alone.items[0], batch.items[u])
    # The sum of a score, written out: a product and its sum are rounded once, column after column.
    for u, i in ((0, 0), (n_users - 1, 3)):
        total = np.float32(0)
        for w in range(width):  # a product of two float32 is whole in float64
            total = np.float32(float(users[u, w]) * float(items[i, w]) + float(total))
        assert batch.scores[u, np.flatnonzero(batch.items[u] == i)[0]] == pytest.approx(total, rel=1e-6)


def test_infinite_scores_have_their_places():
    items = np.array([[1.0], [-np.inf], [np.inf], [0.0], [np.inf]], dtype=np.float32)
    result = exact_top_k(np.array([[1.0], [-1.0]], np.float32), items, 6)
    assert result.items.tolist() == [[2, 4, 0, 3, 1, -1], [1, 3, 0, 2, 4, -1]]
    assert result.scores[0].tolist() == [np.inf, np.inf, 1, 0, -np.inf, -np.inf]


def test_zero_ties_with_minus_zero():
    items = np.array([[-0.0], [0.0], [-0.0], [-1.0]], dtype=np.float32)
    assert exact_top_k(np.ones((1, 1), np.float32), items, 4).items.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("order", ["rising", "falling", "level"])
def test_catalogues_in_order(order):
    value = {"rising": np.arange(1000), "falling": -np.arange(1000), "level": np.zeros(1000)}[order]
    items = value.astype(np.float32)[:, None]
    expected = np.argsort(-value, kind="stable")
    for n_users in (1, 40):
        for k in (1, 10, 200, 999):
            result = exact_top_k(np.ones((n_users, 1), np.float32), items, k)
            npt.assert_array_equal(result.items, np.tile(expected[:k], (n_users, 1)))


def test_searches_at_once_are_the_ones_after_each_other():
    rng = np.random.default_rng(2)
    users = rng.normal(size=(400, 9)).astype(np.float32)
    items = rng.normal(size=(500, 9)).astype(np.float32)
    expected = exact_top_k(users, items, 20)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: exact_top_k(users, items, 20), range(12)):
            npt.assert_array_equal(result.items, expected.items)


def test_an_item_of_nan_score_is_never_given():
    items = np.array([[np.nan], [1.0], [np.nan], [2.0]], dtype=np.float32)
    assert exact_top_k(np.ones((1, 1), np.float32), items, 4).items.tolist() == [[3, 1, -1, -1]]


def test_no_users_no_items_and_nothing_allowed():
    none, one = np.empty((0, 3), np.float32), np.ones((1, 3), np.float32)
    assert exact_top_k(none, one, 2).items.shape == (0, 2)
    assert exact_top_k(one, none, 2).items.tolist() == [[-1, -1]]
    assert exact_top_k(one, one, 2, allow=[]).items.tolist() == [[-1, -1]]


@pytest.mark.parametrize("k", [0, -3])
def test_k_must_be_positive(k):
    with pytest.raises(ConfigError, match="`k` must be a whole number of at least 1"):
        exact_top_k(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32), k)


def test_arguments_that_do_not_fit_are_refused():
    users, items = np.ones((2, 2), np.float32), np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="one width"):
        exact_top_k(users, items[:, :1], 1)
    with pytest.raises(DataError, match="item rows in `seen` must be"):
        exact_top_k(users, items, 1, seen=as_seen([[0], [3]]))
    with pytest.raises(DataError, match="`seen` must be"):
        exact_top_k(users, items, 1, seen=as_seen([[0]]))
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        exact_top_k(users, items, 1, allow=np.ones(2, dtype=bool))
    with pytest.raises(DataError, match="`allow` must name items"):
        exact_top_k(users, items, 1, allow=[-1])
    with pytest.raises(DataError, match=r"`deny` as a mask must have shape \(3,\)"):
        exact_top_k(users, items, 1, deny=np.ones(4, dtype=bool))
    with pytest.raises(DataError, match="`deny` must name items"):
        exact_top_k(users, items, 1, deny=[3])
    with pytest.raises(DataError, match="integers"):
        exact_top_k(users, items, 1, allow=[0.5])


def test_tiles_of_other_items_are_refused():
    users, items = np.ones((1, 3), np.float32), np.ones((100, 3), np.float32)
    for other in (turned(np.ones((64, 3), np.float32)), turned(np.ones((100, 9), np.float32))):
        with pytest.raises(ValueError, match="tiles must be those of the items"):
            exact_top_k(users, items, 5, tiles=other)
