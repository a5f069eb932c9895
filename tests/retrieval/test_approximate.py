"""How an approximate index fills its lists, with a library whose proposals are known."""

from __future__ import annotations

import numpy as np

from twotower.retrieval.approximate import ApproximateIndex

N = 1000


class Proposing(ApproximateIndex):
    """Proposes the items of lowest row: with one column of falling values, the best."""

    name = "proposing"
    scans_per_fetch = 5

    def __init__(self, items, parameters):
        super().__init__(items, parameters)
        self.calls = []

    @classmethod
    def _build(cls, items, parameters):
        return cls(items, parameters)

    def _first_fetch(self, k):
        return 2 * k

    def _nearest(self, users, fetch, effort):
        self.calls.append((len(users), fetch, effort))
        return np.tile(np.arange(fetch), (len(users), 1))

    @property
    def memory(self):
        return 0

    def _payload(self):
        return b""

    @classmethod
    def _restore(cls, items, parameters, payload):
        return cls(items, parameters)


def built():
    return Proposing.build(-np.arange(N, dtype=np.float32)[:, None])


def seen_first(*counts):
    indptr = np.cumsum([0, *counts])
    return indptr, np.concatenate([np.arange(count) for count in counts]).astype(np.int32)


def one(n=1):
    return np.ones((n, 1), dtype=np.float32)


def test_users_still_short_are_asked_for_with_twice_the_effort():
    index = built()
    result = index.search(one(4), 5, seen=seen_first(0, 8, 30, 500))
    assert result.items.tolist() == [list(range(c, c + 5)) for c in (0, 8, 30, 500)]
    # The first finds ten and needs five; the last is never found by fetching up to 200, a fifth of the items.
    assert index.calls == [(4, 10, 1), (3, 20, 2), (2, 40, 4), (1, 80, 8), (1, 160, 16)]


def test_a_small_choice_is_scanned_at_once():
    index = built()
    assert index.search(one(), 5, allow=[900, 7, 3]).items.tolist() == [[3, 7, 900, -1, -1]]
    assert index.search(one(), 5, deny=np.arange(900)).items.tolist() == [[900, 901, 902, 903, 904]]
    assert index.calls == []


def test_a_large_choice_is_fetched_from():
    index = built()
    assert index.search(one(), 5, deny=[0, 2, 4]).items.tolist() == [[1, 3, 5, 6, 7]]
    assert index.calls == [(1, 10, 1)]


def test_where_half_the_catalogue_is_asked_for_it_is_scanned():
    index = built()
    assert index.search(one(), 250).items[0, -1] == 249
    assert index.calls == []
    index.search(one(), 249)
    assert index.calls == [(1, 498, 1)]


def test_users_that_are_not_finite_are_not_shown_to_the_library():
    index = built()
    users = one(3)
    users[1] = np.nan
    assert index.search(users, 2).items.tolist() == [[0, 1], [-1, -1], [0, 1]]
    assert index.calls == [(2, 4, 1)]


def test_many_users_are_asked_for_some_at_a_time():
    index = built()
    assert (index.search(one(2500), 3).items == [0, 1, 2]).all()
    assert [call[0] for call in index.calls] == [1024, 1024, 452]
