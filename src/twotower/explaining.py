"""Scores divided among the items of a user, as a table."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.objectives import FoldIn


def explained(
    folding: FoldIn,
    item: str,
    ids: pl.Series,
    vector: NDArray[np.float32],
    rows: NDArray[np.int64],
    targets: NDArray[np.float64] | None,
    of: NDArray[np.int64],
) -> pl.DataFrame:
    """Return what each item of a user adds to the scores of some items.

    Args:
        folding: of the model.
        item: name of the item column.
        ids: item ids of the catalogue.
        vector: float32 (dim,) of the user.
        rows: item rows (n,) of the user.
        targets: (n,) what their scores are drawn to, None for positives.
        of: item rows (m,) whose scores are divided.

    Returns:
        One row a pair, m x n, the largest contributions of each scored item first: item id, ``because_`` item
        id, ``contribution``, ``base`` and ``score``, which is the base and all contributions together.
    """
    base, parts = folding.explain(vector, rows, targets, of)
    order = np.argsort(-parts, axis=1, kind="stable")
    each = np.repeat(np.arange(len(of)), len(rows))
    return pl.DataFrame(
        {
            item: ids.gather(of[each]),
            f"because_{item}": ids.gather(rows[order].reshape(-1)),
            "contribution": np.take_along_axis(parts, order, axis=1).reshape(-1),
            "base": base[each],
            "score": (base + parts.sum(axis=1))[each],
        }
    )
