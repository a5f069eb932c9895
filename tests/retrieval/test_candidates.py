"""`Candidates`: what was found, without its padding, and the best of two searches."""

import numpy as np
import pytest

from twotower.retrieval import Candidates, exact_top_k

NONE = -np.inf


def found(items: list[list[int]], scores: list[list[float]]) -> Candidates:
    return Candidates(np.array(items, np.int32), np.array(scores, np.float32))


def test_flat_leaves_out_the_padding_and_counts_ranks_from_1() -> None:
    query, rank, item, score = found([[4, 2], [-1, -1], [7, -1]], [[3, 1], [NONE, NONE], [2, NONE]]).flat()
    assert query.tolist() == [0, 0, 2]
    assert rank.tolist() == [1, 2, 1]
    assert item.tolist() == [4, 2, 7]
    assert score.tolist() == [3, 1, 2]
    assert [len(part) for part in Candidates.empty(3, 2).flat()] == [0, 0, 0, 0]


def test_the_best_of_two_searches_and_ties_go_to_the_first() -> None:
    own = found([[4, 2, -1], [1, -1, -1]], [[3, 1, NONE], [2, NONE, NONE]])
    late = found([[1, 0], [-1, -1]], [[3, 2], [NONE, NONE]])
    both = own.merged(late, 10, 3)
    assert both.items.tolist() == [[4, 11, 10], [1, -1, -1]]
    assert both.scores.tolist() == [[3, 3, 2], [2, NONE, NONE]]


def test_two_searches_of_parts_are_one_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    users, items = (rng.normal(size=(n, 8)).astype(np.float32) for n in (9, 40))
    parts = exact_top_k(users, items[:25], 6).merged(exact_top_k(users, items[25:], 6), 25, 6)
    whole = exact_top_k(users, items, 6)
    assert parts.items.tolist() == whole.items.tolist()
    assert parts.scores.tolist() == whole.scores.tolist()


def test_the_old_name_warns() -> None:
    import twotower.retrieval

    with pytest.warns(DeprecationWarning, match=r"use twotower\.retrieval\.Candidates"):
        assert twotower.retrieval.TopK is Candidates
