"""LightGBM's text form of trees, checked before the library reads it.

The library trusts what it reads: a row number outside of a tree would be read from foreign memory.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_ARRAYS: Final = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_LARGEST: Final = 100_000


def check_trees(text: str, n_features: int) -> None:
    """Check the text form of trees.

    Args:
        text: as LightGBM writes it.
        n_features: how many features there are.

    Raises:
        ValueError: it is not of that form, or a tree names a feature, a leaf or a child that doesn't exist.
    """
    if not text.startswith("tree\n") or "\0" in text or "\nend of trees" not in text:
        raise ValueError("the trees of the ranker must be in LightGBM's text form")
    head, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    fields = _fields(head)
    objective = fields.get("objective", "").split(" ")[0]
    if objective != "lambdarank" or fields.get("num_tree_per_iteration") != "1":
        raise ValueError("the trees of the ranker must be trained to rank, one after another")
    if fields.get("max_feature_idx") != str(n_features - 1):
        raise ValueError(f"the trees of the ranker must read {n_features} features, as the model has them")
    if len(fields.get("tree_sizes", "").split()) != len(trees):
        raise ValueError("the trees of the ranker are not as many as they state")
    for tree in trees:
        _check(_fields(tree), n_features)


def _fields(lines: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in lines.split("\n") if "=" in line)


def _check(tree: dict[str, str], n_features: int) -> None:
    leaves, categories = int(tree["num_leaves"]), int(tree["num_cat"])
    if not 1 <= leaves <= _LARGEST or not 0 <= categories < leaves or int(tree.get("is_linear", "0")):
        raise ValueError("a tree of the ranker has an impossible size")
    if len(tree["leaf_value"].split()) != leaves:
        raise ValueError("a tree of the ranker lacks the values of its leaves")
    for value in tree["leaf_value"].split():
        if not abs(float(value)) < 1e30:  # also nan
            raise ValueError("the leaves of the ranker's trees must be finite numbers")
    if leaves == 1:
        return
    split = {name: tree[name].split() for name in _ARRAYS}
    if any(len(values) != leaves - 1 for values in split.values()):
        raise ValueError("a tree of the ranker lacks some of its splits")
    if not all(0 <= int(feature) < n_features for feature in split["split_feature"]):
        raise ValueError(f"a tree of the ranker reads a feature outside of the {n_features}")
    for name in ("left_child", "right_child"):
        for place, child in enumerate(map(int, split[name])):
            # a child comes after its parent, so that there is no circle; a leaf is below 0
            if not (place < child < leaves - 1 or -leaves <= child < 0):
                raise ValueError("a split of the ranker's trees leads to a place that is not there")
    if categories:
        _check_categories(tree, split, categories)


def _check_categories(tree: dict[str, str], split: dict[str, list[str]], n: int) -> None:
    bounds, size = (
        [int(bound) for bound in tree["cat_boundaries"].split()],
        len(tree["cat_threshold"].split()),
    )
    rising = all(low <= high for low, high in pairwise(bounds))
    if len(bounds) != n + 1 or bounds[0] != 0 or bounds[-1] != size or not rising:
        raise ValueError("a tree of the ranker has categories that are not there")
    for kind, threshold in zip(split["decision_type"], split["threshold"], strict=True):
        if int(kind) & 1 and not 0 <= int(float(threshold)) < n:
            raise ValueError("a split of the ranker's trees names categories that are not there")
