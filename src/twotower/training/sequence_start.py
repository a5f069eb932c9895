"""Where sequence towers start: vectors of what follows what, before any gradient.

Counts of which item came soon after which, of both sides' popularity freed, are a matrix whose truncated SVD
gives an input and an output vector of each item. From there one epoch does what many do from random vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from twotower.core.lists import Lists

REACH, FADE, BACKWARDS = 8, 0.7, 0.5
"""How far apart two items of a history count, the factor by step, and the weight of the reverse order."""
FREED = (0.5, 0.3)
"""Powers of an item's count that its row and its column are divided by."""
RMS = 0.3
"""Root mean square length of the vectors; longer ones start over-confident."""
F32 = NDArray[np.float32]


def following(lists: Lists, n_items: int) -> sparse.csr_matrix:
    """Return how often each item came after each other, (n_items, n_items): row before column.

    ``.7^(gap - 1)`` for each pair of a history up to 8 steps apart, and half of that in the reverse order.

    Args:
        lists: item rows of each history, oldest first.
        n_items: number of items.
    """
    items, owner = lists.values, lists.owners()
    total = sparse.csr_matrix((n_items, n_items), dtype=np.float32)
    for gap in range(1, REACH + 1):
        same = owner[gap:] == owner[:-gap]
        worth = np.full(int(same.sum()), FADE ** (gap - 1), np.float32)
        places = items[:-gap][same], items[gap:][same]
        total = total + sparse.csr_matrix((worth, places), shape=(n_items, n_items))
    return (total + BACKWARDS * total.T).tocsr()


def spectral_vectors(lists: Lists, n_items: int, width: int, seed: int) -> tuple[F32, F32]:
    """Return input and output vectors of the items, float32 (n_items, width) each.

    Args:
        lists: item rows of each history, oldest first.
        n_items: number of items.
        width: length of the vectors; past the number of items the rest is 0.
        seed: of the randomised SVD.
    """
    counts = np.bincount(lists.values, minlength=n_items) + 1.0
    scaled = sparse.diags(counts ** -FREED[0]) @ following(lists, n_items) @ sparse.diags(counts ** -FREED[1])
    rank = min(width, n_items)
    left, values, right = _svd(scaled.astype(np.float32).tocsr(), rank, seed)
    made = []
    for side in (left, right):
        vectors = np.zeros((n_items, width), np.float32)
        vectors[:, :rank] = side * np.sqrt(values)
        rms = float(np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1).mean()))
        made.append(vectors * np.float32(RMS / max(rms, 1e-12)))
    return made[0], made[1]


def _svd(matrix: sparse.csr_matrix, rank: int, seed: int) -> tuple[F32, F32, F32]:
    """Return the largest singular vectors and values, by a randomised range (Halko et al. 2011)."""
    rng = np.random.default_rng(seed)
    drawn = min(rank + 10, *matrix.shape)
    basis = rng.standard_normal((matrix.shape[1], drawn), dtype=np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(matrix @ basis)
        basis, _ = np.linalg.qr(matrix.T @ basis)
    basis, _ = np.linalg.qr(matrix @ basis)
    small = (matrix.T @ basis).T  # (drawn, columns)
    turned, values, right = np.linalg.svd(small, full_matrices=False)
    return (basis @ turned)[:, :rank], values[:rank], right[:rank].T
