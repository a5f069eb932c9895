"""Grades that a ranker learns from, against ranks by SciPy."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import polars as pl
from scipy.stats import rankdata

from twotower.config import PositiveConfig
from twotower.data.dataset import Dataset
from twotower.ranking.examples import grades_of
from twotower.targets.positive import PositiveRule

N = 101
SHORT, LONG = slice(0, N), slice(N, 2 * N)


def watched() -> Dataset:
    """Return play times of two videos; the long one was played for longer by everybody."""
    rng = np.random.default_rng(3)
    played = np.concatenate([rng.permutation(N) / 10, 100 + rng.permutation(N)])
    rows = pl.DataFrame({"user_id": [*range(N)] * 2, "item_id": [0] * N + [1] * N, "played": played})
    items = pl.DataFrame({"item_id": [0, 1], "seconds": [10.0, 300.0]})
    return Dataset.of(rows, items=items, schema={"label": "played", "duration": "seconds"})


def ranks(label: np.ndarray) -> np.ndarray:
    return np.rint(4 * (rankdata(label) - 1) / (len(label) - 1))


def test_grades_by_duration_rank_compare_a_label_with_those_of_items_as_long() -> None:
    data = watched()
    rule = PositiveRule.fit(data.as_train(), PositiveConfig(duration_rank=0.8))
    found = grades_of(data, rule, "labels")
    for part in (SHORT, LONG):
        npt.assert_array_equal(found[part], ranks(data.labels()[part]))
    npt.assert_array_equal(grades_of(data, rule, "positives"), rule.positive(data))


def test_grades_by_another_rule_compare_all_labels() -> None:
    data = watched()
    rule = PositiveRule.fit(data.as_train(), PositiveConfig(threshold=105.0))
    found = grades_of(data, rule, "labels")
    npt.assert_allclose(found, ranks(data.labels()), atol=1)  # ranks between quantiles are interpolated
    assert found[SHORT].max() <= found[LONG].min()
