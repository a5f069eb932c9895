"""BPR: a step against autograd, the distribution of negatives, and non-finite vectors."""

import numpy as np
import polars as pl
import pytest
import torch

from twotower.baselines import BPR
from twotower.baselines.bpr import learn_epoch
from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.errors import TrainingError


def start(n_users, n_items, dim, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in ((n_users, dim), (n_items, dim), n_items)]


def run_epoch(user_of, item_of, users, items, bias, rate, shrink, seed, grade_of=None):
    user_of, item_of = np.array(user_of, dtype=np.int64), np.array(item_of, dtype=np.int32)
    indptr = np.searchsorted(user_of, np.arange(len(users) + 1)).astype(np.int32)
    learn_epoch(
        user_of,
        item_of,
        np.ones(len(item_of), np.float32) if grade_of is None else np.array(grade_of, np.float32),
        indptr,
        users,
        items,
        bias,
        np.float32(rate),
        np.float32(shrink),
        np.random.default_rng(seed),
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_step_is_that_of_autograd(seed):
    users, items, bias = start(2, 40, 3, seed)
    before = [torch.tensor(x.astype(np.float64), requires_grad=True) for x in (users, items, bias)]
    run_epoch([1], [7], users, items, bias, 0.1, 0.3, seed)
    moved = np.flatnonzero(bias != before[2].detach().numpy().astype(np.float32))
    (other,) = moved[moved != 7]
    u, v, b = before
    gain = torch.nn.functional.logsigmoid(u[1] @ v[7] + b[7] - u[1] @ v[other] - b[other])
    used = (u[1], v[7], v[other], b[7], b[other])
    (gain - 0.3 / 2 * sum((x**2).sum() for x in used)).backward()
    for found, old in zip((users, items, bias), before, strict=True):
        np.testing.assert_allclose(found, (old + 0.1 * old.grad).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_a_users_own_items_are_not_put_below_each_other():
    """A user with all items is not updated; one who lacks an item is."""
    for lacking, learns in ((0, False), (1, True)):
        users, items, bias = start(1, 6, 3)
        old = bias.copy()
        for seed in range(20):
            run_epoch([0] * (6 - lacking), list(range(6 - lacking)), users, items, bias, 0.1, 0.3, seed)
        assert np.array_equal(bias, old) is not learns


def test_others_are_drawn_alike():
    """From zeros and at a tiny rate each draw moves two biases by half the rate, so they count the draws."""
    n_users, n_items = 2000, 10
    # The first half of the users has items 0, 1 and 2, the other only item 0.
    user_of = [u for u in range(n_users) for _ in range(3 if u < n_users // 2 else 1)]
    item_of = [i for u in range(n_users) for i in range(3 if u < n_users // 2 else 1)]
    users, items = np.zeros((n_users, 2), np.float32), np.zeros((n_items, 2), np.float32)
    bias, rate, epochs = np.zeros(n_items, np.float32), 1e-7, 20
    for seed in range(epochs):
        run_epoch(user_of, item_of, users, items, bias, rate, 1e-9, seed)
    draws = bias / (rate / 2) / epochs  # per epoch: draws as the positive minus draws as the negative
    # 3,000 pairs are of users with three items, where 3 of 10 draws are skipped; 1,000 of users with one.
    expected = np.full(n_items, -3000 / 10 - 1000 / 10)
    expected[0] = 1000 * 0.7 + 1000 * 0.9
    expected[1:3] = 1000 * 0.7 - 1000 / 10
    np.testing.assert_allclose(draws, expected, rtol=0.05)


def test_pairs_are_drawn_by_their_grade_and_put_above_lower_ones():
    """Each user has items 0, 1 and 2 at grades 1, .5 and .25, and lacks item 3; biases count the draws."""
    n_users, n_items, rate, epochs = 2000, 4, 1e-7, 20
    user_of = [u for u in range(n_users) for _ in range(3)]
    users, items = np.zeros((n_users, 2), np.float32), np.zeros((n_items, 2), np.float32)
    bias = np.zeros(n_items, np.float32)
    for seed in range(epochs):
        grades = [1.0, 0.5, 0.25] * n_users
        run_epoch(user_of, [0, 1, 2] * n_users, users, items, bias, rate, 1e-9, seed, grades)
    draws = bias / (rate / 2) / epochs / n_users  # per epoch and user: as the positive minus as the negative
    # Each pair is drawn about once and counts by its grade; the negative is one of four items.
    own = np.array([1.0 * 3, 0.5 * 2, 0.25 * 1, 0])
    lower = np.array([0, 1.0, 1.0 + 0.5, 1.0 + 0.5 + 0.25])
    np.testing.assert_allclose(draws, (own - lower) / 4, rtol=0.05, atol=0.005)


def test_numbers_out_of_bounds_stop_it():
    events = pl.DataFrame({"user_id": [0, 0, 1, 2], "item_id": [0, 1, 2, 3]})
    train = Dataset.of(events, schema=Schema()).as_train()
    with pytest.raises(TrainingError, match=r"finite.*1e\+20"):
        BPR(4, learning_rate=1e20).fit(train)


def test_the_bias_is_a_coordinate():
    events = pl.DataFrame({"user_id": [0, 0, 1, 2, 2], "item_id": [0, 1, 0, 0, 2]})
    model = BPR(4, iterations=30).fit(Dataset.of(events, schema=Schema()).as_train())
    assert model.user_vectors.shape == (3, 5)
    assert (model.user_vectors[:, -1] == 1).all()
    assert model.item_vectors[0, -1] == model.item_vectors[:, -1].max() > 0  # the item that all users have
