"""A search for many users that ends early gives the bits of one that scores every item."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twotower.core.lists import Lists
from twotower.retrieval import exact
from twotower.retrieval.exact import exact_top_k, scan
from twotower.retrieval.reach import Reach


def both(monkeypatch, users, items, k, **how):
    """Return the lists with every item scored, and those of a search that may end early."""
    found = []
    for many in (10**9, 1):
        monkeypatch.setattr(exact, "_MANY", many)
        found.append(exact_top_k(users, items, k, **how))
    return found


def same(one, other):
    npt.assert_array_equal(one.items, other.items)
    npt.assert_array_equal(one.scores.view(np.uint32), other.scores.view(np.uint32))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_items=st.integers(64, 700),
    width=st.integers(1, 17),
    k=st.integers(1, 90),
    spread=st.sampled_from([0.0, 0.3, 2.0]),
    scale=st.sampled_from([1e-38, 1e-20, 1.0, 1e15, 1e19, 1e30]),
    whole=st.booleans(),
)
def test_lists_are_those_of_all_items(seed, n_items, width, k, spread, scale, whole):
    rng = np.random.default_rng(seed)
    users, items = rng.normal(size=(9, width)), rng.normal(size=(n_items, width)) + rng.normal(size=width)
    items *= np.exp(spread * rng.normal(size=(n_items, 1)))
    items[:, rng.random(width) < 0.3] = 1.0  # the column of a bias
    if whole:
        users, items = np.round(users), np.round(items)  # many ties
    with np.errstate(over="ignore"):
        users, items = (users * scale).astype(np.float32), (items * min(scale, 1e30)).astype(np.float32)
    barred = [rng.choice(n_items, size=rng.integers(20), replace=False) for _ in users]
    seen = Lists.from_lengths(np.array([len(one) for one in barred]), np.concatenate(barred).astype(np.int32))
    allow = np.flatnonzero(rng.random(n_items) < 0.9)
    with pytest.MonkeyPatch.context() as patch:
        for how in ({}, {"allow": allow} if len(allow) else {}):
            same(*both(patch, users, items, k, seen=seen, **how))


def test_most_items_are_not_scored(monkeypatch):
    rng = np.random.default_rng(0)
    items = rng.normal(size=(20_000, 8)) * np.exp(rng.normal(size=(20_000, 1)))
    users, items = rng.normal(size=(64, 8)).astype(np.float32), items.astype(np.float32)
    (one, other), reach = both(monkeypatch, users, items, 10), Reach.of(items, None)
    same(one, other)
    distances = reach.bound[0]
    assert (np.diff(distances) <= 0).all()
    npt.assert_allclose(distances, np.linalg.norm(items - items.mean(axis=0), axis=1)[reach.rows], rtol=1e-4)
    # What lies far down the order is not read: other numbers there are not noticed.
    items[reach.rows[10_000:]] = 1e6
    monkeypatch.setattr(Reach, "of", lambda *_: reach)
    same(one, scan(users, items, 10, Lists.empty(64), None))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_all_scored(monkeypatch, value):
    rng = np.random.default_rng(1)
    users, items = (rng.normal(size=(n, 3)).astype(np.float32) for n in (70, 300))
    items[17, 1] = value
    assert Reach.of(items, None) is None
    same(*both(monkeypatch, users, items, 5))
    users[3, 2] = value
    same(*both(monkeypatch, users, np.delete(items, 17, axis=0), 5))
