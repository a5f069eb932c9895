"""Batches: every pair exactly once per epoch, at random, in the user's order."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.testing as npt
import pytest
from scipy import stats

from twotower.kernels.pairs import Pairs
from twotower.training import Batch, Batcher
from twotower.training.batches import LARGEST, SMALLEST, STEPS

Rows = list[tuple[int, int, float, float]]


def made(n: int, n_users: int, n_items: int, *, weighted: bool = True, seed: int = 0) -> Pairs:
    """Random pairs; the target is the pair's number."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n_users, n), rng.integers(0, n_items, n)
    weight = rng.uniform(size=n).astype(np.float32) if weighted else None
    target = np.arange(n, dtype=np.float32)
    return Pairs.from_arrays(user.astype(np.int32), item.astype(np.int32), target, weight, n_users=n_users)


def rows_of(batch: Batch) -> Rows:
    """The batch's pairs with their warm rows."""
    pairs = batch.pairs
    user = np.repeat(np.arange(pairs.n_users), np.diff(pairs.indptr))
    users = user if batch.queries is None else batch.queries[user]
    items = pairs.item if batch.items is None else batch.items[pairs.item]
    weight = np.ones(len(pairs)) if pairs.weight is None else pairs.weight
    columns = (users.tolist(), items.tolist(), pairs.label.tolist(), weight.tolist())
    return list(zip(*columns, strict=True))


def all_of(pairs: Pairs) -> Rows:
    weight = np.ones(len(pairs)) if pairs.weight is None else pairs.weight
    columns = (pairs.user.tolist(), pairs.item.tolist(), pairs.label.tolist(), weight.tolist())
    return sorted(zip(*columns, strict=True))


def test_sorting_is_stable_and_keeps_columns_together() -> None:
    user = np.array([2, 0, 2, 1, 0], np.int32)
    item = np.array([5, 6, 7, 8, 9], np.int32)
    pairs = Pairs.from_arrays(user, item, item.astype(np.float32), item / np.float32(2), n_users=3)
    assert pairs.user.tolist() == [0, 0, 1, 2, 2]
    assert pairs.item.tolist() == [6, 9, 8, 5, 7]
    assert pairs.label.tolist() == [6, 9, 8, 5, 7]
    assert pairs.weight is not None
    assert pairs.weight.tolist() == [3, 4.5, 4, 2.5, 3.5]
    again = Pairs.from_arrays(pairs.user, pairs.item, pairs.label, pairs.weight, n_users=3)
    npt.assert_array_equal(again.item, pairs.item)


# (pairs, users, items): both sides whole, users alone whole, items alone whole, both by distinct rows
SIZES = [(3000, 40, 30), (3000, 40, 900), (3000, 900, 30), (3000, 900, 800)]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_an_epoch_deals_every_pair_exactly_once(size: tuple[int, int, int], weighted: bool) -> None:
    pairs = made(*size, weighted=weighted)
    batcher = Batcher(pairs, size[2], 150, seed=3)
    assert (batcher.every_query, batcher.every_item) == (size[1] == 40, size[2] == 30)
    for epoch in (1, 2):
        batches = list(batcher.epoch(epoch))
        assert len(batches) == 20
        found = [row for batch in batches for row in rows_of(batch)]
        assert sorted(found) == all_of(pairs)
        assert all((batch.pairs.weight is None) is (not weighted) for batch in batches)


@pytest.mark.parametrize("size", SIZES)
def test_batches_keep_the_order_of_the_pairs_and_name_rows_once(size: tuple[int, int, int]) -> None:
    pairs = made(*size)
    place = {target: at for at, target in enumerate(pairs.label.tolist())}
    batcher = Batcher(pairs, size[2], 150, seed=3)
    for batch in batcher.epoch(1):
        places = [place[row[2]] for row in rows_of(batch)]
        assert places == sorted(places)
        assert batch.pairs.indptr[0] == 0
        assert batch.pairs.indptr[-1] == len(batch.pairs)
        if batch.queries is None:
            assert batch.pairs.n_users == pairs.n_users
        else:
            assert (np.diff(batch.queries) > 0).all()
            assert (np.diff(batch.pairs.indptr) > 0).all(), "a user without a pair"
            assert len(batch.queries) == batch.pairs.n_users
        if batch.items is not None:
            assert len(set(batch.items.tolist())) == len(batch.items)
            assert set(batch.pairs.item.tolist()) == set(range(len(batch.items)))


def test_whole_sides_and_distinct_rows_hold_the_same_pairs() -> None:
    pairs = made(2000, 100, 80)
    whole, distinct = Batcher(pairs, 80, 150, seed=1), Batcher(pairs, 80, 150, seed=1)
    assert whole.every_query
    assert whole.every_item
    distinct.every_query = distinct.every_item = False
    distinct._stamp = np.full(80, -1, dtype=np.int32)
    for one, two in zip(whole.epoch(4), distinct.epoch(4), strict=True):
        assert rows_of(one) == rows_of(two)
        assert two.queries is not None
        assert two.items is not None


def drawn(batcher: Batcher, epoch: int) -> list[Rows]:
    return [rows_of(batch) for batch in batcher.epoch(epoch)]


def test_the_seed_and_the_number_of_an_epoch_decide_its_batches() -> None:
    pairs = made(2000, 50, 50)
    batcher = Batcher(pairs, 50, 200, seed=7)
    first = drawn(batcher, 1)
    assert drawn(batcher, 2) != first
    assert drawn(batcher, 1) == first
    assert drawn(Batcher(pairs, 50, 200, seed=7), 1) == first
    assert drawn(Batcher(pairs, 50, 200, seed=8), 1) != first


def test_the_number_of_threads_does_not_change_the_batches() -> None:
    pairs = made(5000, 50, 50)
    batcher = Batcher(pairs, 50, 300, seed=7)
    before = numba.get_num_threads()
    found = []
    try:
        for threads in {1, before}:
            numba.set_num_threads(threads)
            found.append(drawn(batcher, 3))
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[-1]


def test_pairs_fall_into_batches_uniformly_and_independently() -> None:
    pairs = made(20_000, 100, 100)
    batcher = Batcher(pairs, 100, 2_000, seed=0)
    batch_of = np.empty((6, 20_000), dtype=np.int64)
    for epoch in range(6):
        for number, batch in enumerate(batcher.epoch(epoch + 1)):
            batch_of[epoch, batch.pairs.label.astype(int)] = number
    for row in batch_of:
        assert stats.chisquare(np.bincount(row, minlength=10)).pvalue > 1e-4
    for epoch in range(5):  # the batch of a pair is independent of its batch in the next epoch
        table = np.zeros((10, 10))
        np.add.at(table, (batch_of[epoch], batch_of[epoch + 1]), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-4
    neighbours = np.zeros((10, 10))  # and of its neighbour's batch
    np.add.at(
        neighbours, (batch_of[0, pairs.label.astype(int)][:-1], batch_of[0, pairs.label.astype(int)][1:]), 1
    )
    assert stats.chi2_contingency(neighbours).pvalue > 1e-4


@pytest.mark.parametrize(
    ("n", "size", "steps"), [(100, 30, 3), (100, 1000, 1), (100, 100, 1), (1, 1, 1), (5, 1, 5)]
)
def test_the_number_of_steps(n: int, size: int, steps: int) -> None:
    batcher = Batcher(made(n, 3, 3), 3, size, seed=0)
    assert batcher.steps == steps
    assert sorted(row for rows in drawn(batcher, 1) for row in rows) == all_of(batcher.pairs)


def test_the_automatic_size_aims_at_twelve_steps_within_its_bounds() -> None:
    def steps(n: int) -> int:
        few = made(1, 1, 1)
        column = np.zeros(n, np.int32)
        return Batcher(Pairs(np.array([0, n]), column, few.label), 1, "auto", 0).steps

    assert steps(1_000) == 1
    assert steps(SMALLEST * 3) == 3
    assert steps(2_400_000) == STEPS == 12
    assert steps(LARGEST * 20) == 20


def sampled(pairs: Pairs, **settings: Any) -> Batcher:
    return Batcher(pairs, 500, 40, 5, **settings)


def many(n: int = 400, n_users: int = 300, n_items: int = 500) -> Pairs:
    rng = np.random.default_rng(7)
    user, item = rng.integers(0, n_users, n), np.minimum(rng.geometric(0.02, n), n_items - 1)
    one = np.ones(n, np.float32)
    return Pairs.from_arrays(user.astype(np.int32), item.astype(np.int32), one, None, n_users=n_users)


def test_a_batch_for_sampling_says_what_its_users_have() -> None:
    pairs = many()
    own = set(zip(pairs.user.tolist(), pairs.item.tolist(), strict=True))
    for batch in sampled(pairs, negatives=50).epoch(1):
        assert batch.queries is not None
        assert batch.items is not None
        assert batch.step is not None
        assert batch.step.positives is not None
        indptr, rows = batch.step.positives.arrays
        told = {
            (user, int(batch.items[row]))
            for place, user in enumerate(batch.queries.tolist())
            for row in rows[indptr[place] : indptr[place + 1]]
        }
        here = set(batch.items.tolist())
        assert told == {(u, i) for u, i in own if u in set(batch.queries.tolist()) and i in here}
        assert len(here) == len(batch.items) > len(set(batch.pairs.item.tolist()))


def test_log_q_is_the_chance_that_an_item_is_in_a_batch() -> None:
    pairs = many()
    batcher = sampled(pairs, negatives=50)
    counts, batches, log_q = np.zeros(500), 0, np.full(500, np.nan)
    for epoch in range(300):
        for batch in batcher.epoch(epoch):
            assert batch.items is not None
            assert batch.step is not None
            assert batch.step.log_q is not None
            counts[batch.items] += 1
            log_q[batch.items] = batch.step.log_q
            batches += 1
    chance = np.exp(log_q)
    error = np.sqrt(chance * (1 - chance) / batches)
    assert np.nanmax(np.abs(counts / batches - chance) / error) < 5
    assert chance.min() < 0.15
    assert chance.max() > 0.5


def test_whole_batches_hold_everyone() -> None:
    for batch in sampled(many(), whole=True).epoch(1):
        assert batch.queries is None
        assert batch.items is None
        assert batch.pairs.n_users == 300
