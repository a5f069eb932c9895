"""The users' (or the items') least squares of `AllPairs`, solved for all rows at once. CPU, float32.

With the other side held still, the loss of `AllPairs` falls apart into one least squares a row, with the
solution (Hu, Koren, Volinsky 2008, equation 4)

    A z = sum_p w_p (y_p - o_p) x_p - cell sum_j o_j x_j + r z0
    A   = sum_p w_p x_p x_p'        + cell sum_j x_j x_j' + r I

over the row's pairs p and all rows j of the other side, split into ``[x, o]``, x what z multiplies and o what
is added; z0 is where the ridge r draws to. A is never written down: conjugate gradients need its products
with vectors alone, and a few steps from a near start are as good as the solution (Takács, Pilászy, Tikk,
"Applications of the Conjugate Gradient Method for Implicit Feedback Collaborative Filtering", RecSys 2011).
"""

from __future__ import annotations

import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.objectives.kernels import FASTMATH, run_parts
from twotower.objectives.pairs import Pairs

F32 = NDArray[np.float32]

STEPS = 4
"""Of conjugate gradients, for each row and call."""


def solve_rows(
    pairs: Pairs, other: F32, start: F32, towards: F32, ridge: F32, cell: float, steps: int = STEPS
) -> F32:
    """Move each row towards the solution of its least squares.

    The same bits whatever the number of threads, since each row is solved for alone.

    Args:
        pairs: grouped by the rows that are solved for (n); their items are rows of ``other``.
        other: (m, width) ``[x, o]`` of the other side.
        start: (n, width - 1), where to start from.
        towards: (n, width - 1), where the ridge draws to.
        ridge: (n,) its strength.
        cell: weight of a cell, where a pair weighs 1.
        steps: of conjugate gradients; width - 1 solve exactly but for rounding.

    Returns:
        float32 (n, width - 1). A row without pairs is drawn by the cells and the ridge alone.
    """
    x, o = np.ascontiguousarray(other[:, :-1]), np.ascontiguousarray(other[:, -1])
    gramian = np.float32(cell) * (x.T @ x)
    against = np.float32(cell) * (o @ x)
    out = np.ascontiguousarray(start, dtype=np.float32).copy()
    weight = np.empty(0, np.float32) if pairs.weight is None else pairs.weight
    towards = np.ascontiguousarray(towards, dtype=np.float32)
    parts = max(1, numba.get_num_threads())
    share = np.searchsorted(pairs.indptr, np.arange(parts + 1) * (len(pairs) / parts))
    share[0], share[-1] = 0, pairs.n_users
    arrays = (pairs.indptr, pairs.item, pairs.label, weight, x, o, gramian, against, towards)

    def run(part: int) -> None:
        _solve(*arrays, ridge.astype(np.float32), out, steps, share[part], share[part + 1])

    run_parts(run, parts)
    return out


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _solve(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    indptr, item, target, weight, x, o, gramian, against, towards, ridge, out, steps, first, last
):
    width = x.shape[1]
    residual, way, image = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    weighted = weight.size > 0
    for row in range(first, last):
        z = out[row]
        r = ridge[row]
        # residual = right side - A z, in one pass over the pairs
        for k in range(width):
            residual[k] = r * (towards[row, k] - z[k]) - against[k]
        for k in range(width):
            s = np.float32(0)
            for c in range(width):
                s += gramian[k, c] * z[c]
            residual[k] -= s
        for p in range(indptr[row], indptr[row + 1]):
            j = item[p]
            s = np.float32(0)
            for k in range(width):
                s += x[j, k] * z[k]
            s = target[p] - o[j] - s
            if weighted:
                s *= weight[p]
            for k in range(width):
                residual[k] += s * x[j, k]
        old = np.float32(0)
        for k in range(width):
            way[k] = residual[k]
            old += residual[k] * residual[k]
        for _ in range(steps):
            if old <= np.float32(1e-20):
                break
            for k in range(width):
                s = r * way[k]
                for c in range(width):
                    s += gramian[k, c] * way[c]
                image[k] = s
            for p in range(indptr[row], indptr[row + 1]):
                j = item[p]
                s = np.float32(0)
                for k in range(width):
                    s += x[j, k] * way[k]
                if weighted:
                    s *= weight[p]
                for k in range(width):
                    image[k] += s * x[j, k]
            along = np.float32(0)
            for k in range(width):
                along += way[k] * image[k]
            if along <= np.float32(0):
                break
            step = old / along
            new = np.float32(0)
            for k in range(width):
                z[k] += step * way[k]
                residual[k] -= step * image[k]
                new += residual[k] * residual[k]
            turn = new / old
            for k in range(width):
                way[k] = residual[k] + turn * way[k]
            old = new
