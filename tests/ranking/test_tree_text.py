"""Trees are checked before LightGBM reads them."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from twotower.config.ranker import RankerConfig
from twotower.ranking.columns import Feature
from twotower.ranking.tree_text import check_trees
from twotower.ranking.trees import Examples, Trees


@cache
def trees() -> Trees:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=800), rng.integers(0, 6, 800)], axis=1).astype(np.float32)
    grade = ((values[:, 1] == 3) | (values[:, 0] > 1)).astype(np.int32)
    examples = Examples(values, grade, np.full(40, 20))
    settings = RankerConfig(trees=8, leaves=5, min_rows=5)
    return Trees.fit(examples, examples, [Feature("a"), Feature("b", True)], settings, 1, 1)


def test_trees_rank_what_they_learned_and_are_the_same_again() -> None:
    found = trees()
    values = np.array([[0, 3], [2, 1], [0, 1]], np.float32)
    scores = found.scores(values)
    assert scores[2] < min(scores[0], scores[1])
    assert "num_cat=1" in found.text
    assert max(found.worth) > 0.95
    trees.cache_clear()
    assert trees().text == found.text
    check_trees(found.text, 2)
    assert Trees(found.text).scores(values).tolist() == scores.tolist()
    assert found.importance().sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("pattern", "by", "message"),
    [
        (r"^tree\n", "", "text form"),
        (r"split_feature=\d", "split_feature=7", "outside of the 2"),
        (r"left_child=-?\d+", "left_child=99", "not there"),
        (r"left_child=-?\d+", "left_child=0", "not there"),
        (r"right_child=-?\d+", "right_child=-99", "not there"),
        (r"num_leaves=(\d)", "num_leaves=9", "lacks"),
        (r"leaf_value=\S+", "leaf_value=nan", "finite"),
        (r"cat_boundaries=0", "cat_boundaries=5", "categories"),
        (r"objective=lambdarank", "objective=binary", "trained to rank"),
        (r"max_feature_idx=1", "max_feature_idx=2", "read 2 features"),
        (r"tree_sizes=\d+", "tree_sizes=", "not as many"),
    ],
)
def test_a_damaged_tree_is_refused(pattern: str, by: str, message: str) -> None:
    text, n = re.subn(pattern, by, trees().text, count=1)
    assert n == 1
    with pytest.raises(ValueError, match=message):
        check_trees(text, 2)
