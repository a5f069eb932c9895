"""Recall against answers known by hand, and which index is chosen."""

from __future__ import annotations

import numpy as np
import pytest

from twotower.errors import ConfigError, DataError
from twotower.retrieval import Candidates, ExactIndex, IvfIndex, Point, exact_top_k, recall, tune_index
from twotower.retrieval.tuning import choose, reason


def answers(items, scores):
    return Candidates(np.array(items, np.int32), np.array(scores, np.float32))


def line():
    """Four items on a line, of which a user of 1 likes the last the most."""
    return np.arange(4, dtype=np.float32)[:, None], np.ones((2, 1), np.float32)


def test_recall_of_the_exact_index_is_one():
    items, users = line()
    index = ExactIndex.build(items)
    assert recall(index, index, users, 2) == 1
    assert recall(index, exact_top_k(users, items, 4), users, 2) == 1
    assert recall(index, index, users, 9) == 1


def test_recall_is_the_mean_share_found():
    items, users = line()
    index = ExactIndex.build(items)  # finds 3 and 2, of scores 3 and 2
    first = answers([[3, 2], [3, 9]], [[3, 2], [3, 2.5]])  # the second user's 9 is better than what is found
    assert recall(index, first, users, 2) == 0.75
    nothing = answers([[3, 2], [-1, -1]], [[3, 2], [-np.inf, -np.inf]])
    assert recall(index, nothing, users, 2) == 1  # a user without candidates says nothing


def test_equal_items_count_alike():
    items, users = np.ones((4, 1), np.float32), np.ones((1, 1), np.float32)
    assert recall(ExactIndex.build(items), answers([[3, 2]], [[1, 1]]), users, 2) == 1


def test_recall_refuses_what_does_not_fit():
    items, users = line()
    index = ExactIndex.build(items)
    with pytest.raises(DataError, match="got 0 users"):
        recall(index, index, users[:0], 2)
    with pytest.raises(DataError, match=r"an answer of shape \(2, 1\)"):
        recall(index, exact_top_k(users, items, 1), users, 2)
    with pytest.raises(ConfigError, match="`k` must be a whole number of at least 1"):
        recall(index, index, users, 0)


def point(kind, share, microseconds):
    return Point(kind, {}, share, microseconds, 0.0, 0)


EXACT, GOOD, QUICK = point("exact", 1.0, 100), point("hnsw", 0.97, 40), point("ivf", 0.90, 10)


@pytest.mark.parametrize(
    ("curve", "target", "chosen", "said"),
    [
        (
            [EXACT, GOOD, QUICK],
            0.95,
            GOOD,
            "hnsw is the fastest that reaches recall 0.95: 0.9700 in 40 us a ",
        ),
        ([EXACT, GOOD, QUICK], 0.90, QUICK, "10.0 times as fast as the exact scan"),
        (
            [EXACT, GOOD, QUICK],
            0.99,
            EXACT,
            "No approximate index reaches recall 0.99: the best is hnsw with",
        ),
        (
            [EXACT, point("hnsw", 1.0, 200)],
            0.95,
            EXACT,
            "The exact scan is the fastest: 100 us a query, where",
        ),
        ([EXACT], 0.95, EXACT, "Only the exact scan"),
    ],
)
def test_the_fastest_that_reaches_the_target(curve, target, chosen, said):
    assert choose(curve, target) is chosen
    assert said in reason(chosen, curve, target)


def clustered(n_items, dim=12, n_users=30):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, dim))
    items = centres[rng.integers(40, size=n_items)] + 0.3 * rng.normal(size=(n_items, dim))
    users = centres[rng.integers(40, size=n_users)] + 0.3 * rng.normal(size=(n_users, dim))
    return items.astype(np.float32), users.astype(np.float32)


def test_tuning_measures_every_kind_and_keeps_what_it_measured():
    items, users = clustered(1500)
    tuned = tune_index(items, users, 5, 0.9)
    assert {p.kind for p in tuned.curve} == {"exact", "hnsw", "ivf", "ivfpq"}
    assert tuned.curve[0].kind == "exact"
    assert tuned.point in tuned.curve
    assert tuned.point is choose(tuned.curve, 0.9)
    assert tuned.reason == reason(tuned.point, tuned.curve, 0.9)
    assert (tuned.index.name, tuned.index.parameters()) == (tuned.point.kind, tuned.point.parameters)
    exact = exact_top_k(users, items, 5)
    assert recall(tuned.index, exact, users, 5) == tuned.point.recall >= 0.9
    for p in tuned.curve:
        assert p.microseconds > 0
        assert 0 <= p.recall <= 1
        assert p.bytes > 0 or p.kind == "exact"
    # More effort finds no less, and a structure is left once the target is reached.
    ivf = [p for p in tuned.curve if p.kind == "ivf"]
    for nlist in {p.parameters["nlist"] for p in ivf}:
        series = [p.recall for p in ivf if p.parameters["nlist"] == nlist]
        assert series == sorted(series)
        assert all(share < 0.9 for share in series[:-1])
        assert series[-1] >= 0.9


def test_a_measured_point_is_that_of_an_index_built_with_its_parameters():
    items, users = clustered(1500)
    tuned = tune_index(items, users, 5, 0.9, kinds=["ivf"])
    exact = exact_top_k(users, items, 5)
    for p in tuned.curve[1:]:
        assert recall(IvfIndex.build(items, **p.parameters), exact, users, 5) == p.recall


def test_a_tiny_catalogue_and_no_other_kinds():
    items, users = clustered(3)
    assert tune_index(items, users, 5).point.recall == 1
    alone = tune_index(items, users, 2, kinds=["exact"])
    assert isinstance(alone.index, ExactIndex)
    assert len(alone.curve) == 1


def test_a_kind_that_is_insisted_on_is_taken_though_the_scan_is_faster():
    items, users = clustered(400)
    told = []
    tuned = tune_index(items, users, 5, 0.9, kinds=["ivfpq"], exact=False, told=told.append)
    assert tuned.point.kind == tuned.index.name == "ivfpq"
    assert tuned.point.recall >= 0.9
    assert tuple(told) == tuned.curve
    assert tuned.curve[0].kind == "exact"
    alone = tune_index(items, users, 5, 0.9, kinds=["exact"], exact=False)
    assert alone.point.kind == "exact"


def test_tuning_refuses_what_it_can_not_do():
    items, users = clustered(20)
    for target in (0, -1, 1.01):
        with pytest.raises(ConfigError, match=r"must lie in \(0, 1\]"):
            tune_index(items, users, 5, target)
    with pytest.raises(ConfigError, match="Did you mean 'hnsw'"):
        tune_index(items, users, 5, kinds=["hnws"])
    with pytest.raises(DataError, match="got 0 users"):
        tune_index(items, users[:0], 5)
    with pytest.raises(ConfigError, match="`k`"):
        tune_index(items, users, 0)
