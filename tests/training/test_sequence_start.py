"""The vectors that sequence towers start from, against plain loops and numpy's SVD."""

import numpy as np
import pytest

from twotower.core.lists import Lists
from twotower.training.sequence_start import following, spectral_vectors

N = 30


def histories(seed=0, n_users=40):
    """Return lists of which some are empty or have one item, and some repeat one."""
    rng = np.random.default_rng(seed)
    return [np.minimum(rng.geometric(0.1, rng.integers(0, 14)) - 1, N - 1) for _ in range(n_users)]


def counted(groups):
    """Return the counts by the definition."""
    total = np.zeros((N, N))
    for items in groups:
        for first in range(len(items)):
            for second in range(first + 1, min(first + 9, len(items))):
                worth = 0.7 ** (second - first - 1)
                total[items[first], items[second]] += worth
                total[items[second], items[first]] += 0.5 * worth
    return total


def scaled(groups):
    n = np.bincount(np.concatenate(groups), minlength=N) + 1.0
    return counted(groups) / n[:, None] ** 0.5 / n[None, :] ** 0.3


def test_counts_are_those_of_a_plain_loop():
    groups = histories()
    found = following(Lists.from_groups(groups), N)
    np.testing.assert_allclose(found.toarray(), counted(groups), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("width", [3, 20, N])
def test_vectors_are_those_of_numpys_svd(width):
    groups = histories()
    given, out = spectral_vectors(Lists.from_groups(groups), N, width, seed=0)
    left, values, right = np.linalg.svd(scaled(groups))
    rank = slice(0, width)
    for found, side in ((given, left[:, rank]), (out, right[rank].T)):
        wanted = side * np.sqrt(values[rank])
        wanted *= 0.3 / np.sqrt((wanted**2).sum(axis=1).mean())
        assert found.shape == (N, width)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found @ found.T, wanted @ wanted.T, atol=2e-3)  # signs are free
    product = given @ out.T
    best = left[:, rank] * values[rank] @ right[rank]
    np.testing.assert_allclose(product / np.linalg.norm(product), best / np.linalg.norm(best), atol=2e-3)


def test_past_the_number_of_items_the_rest_is_zero_and_the_seed_decides():
    lists = Lists.from_groups(histories())
    first, second, other = (spectral_vectors(lists, N, 40, seed=seed) for seed in (0, 0, 1))
    for side in range(2):
        assert (first[side][:, :N] != 0).any(axis=0).all()
        assert (first[side][:, N:] == 0).all()
        np.testing.assert_array_equal(first[side], second[side])
    assert not np.array_equal(first[0], other[0])


def test_without_any_history_vectors_are_zero():
    for vectors in spectral_vectors(Lists.from_groups([np.array([], int), np.array([3])]), N, 4, seed=0):
        assert vectors.shape == (N, 4)
        assert not vectors.any()
