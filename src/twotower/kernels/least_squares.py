"""The least-squares problems of `AllPairs` for all users (or all items) at once. CPU, float32.

With the other side's vectors fixed, the loss of `AllPairs` separates into one least-squares problem per row,
with the solution (Hu, Koren, Volinsky 2008, equation 4)

    A z = sum_p w_p (y_p - o_p) x_p - c sum_j c_j o_j x_j + r z0
    A   = sum_p w_p x_p x_p'        + c sum_j c_j x_j x_j' + r I

over the row's pairs p and all rows j of the other side. A row of the other side is split into ``[x, o]``: x
multiplies z, and o is an offset; ``c c_j`` is the weight of a cell. The ridge r regularises towards z0. A is
never formed: conjugate gradients only need its products with vectors, and a few steps from a good start are
as good as the exact solution (Takács, Pilászy, Tikk, "Applications of the Conjugate Gradient Method for
Implicit Feedback Collaborative Filtering", RecSys 2011).

The sum over all rows j, the Gramian, is the same for every row but for c. All vectors are first turned to its
axes, in a matrix product for the whole side. There it is diagonal, so a step costs only the row's pairs, and
with the ridge it is the preconditioner.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.kernels.pair_loop import FASTMATH, run_parts
from twotower.kernels.pairs import Pairs

F32 = NDArray[np.float32]

ROWS = 1 << 17
"""Rows that are solved, or added to a Gramian, at once."""
STEPS = 4
"""Steps of conjugate gradients per row and call."""


class Gramian(NamedTuple):
    """``sum_j c_j x_j x_j'`` (width - 1, width - 1) and ``sum_j c_j o_j x_j`` (width - 1,) of a side."""

    squares: F32
    against: F32


def gramian_of(other: F32, cell: F32) -> Gramian:
    """Return the Gramian of rows ``[x, o]`` (m, width) with the cell factors (m,)."""
    found = None
    for first in range(0, max(len(other), 1), ROWS):
        rows = slice(first, first + ROWS)
        x, o = np.ascontiguousarray(other[rows, :-1]), np.ascontiguousarray(other[rows, -1])
        with np.errstate(all="ignore"):
            by_cell: F32 = x * cell[rows].astype(np.float32)[:, None]
            more = Gramian(by_cell.T @ x, by_cell.T @ o)
        found = more if found is None else Gramian(found.squares + more.squares, found.against + more.against)
    assert found is not None
    return found


def solve_rows(
    pairs: Pairs,
    other: F32,
    start: F32,
    towards: F32,
    ridge: F32,
    row_cell: F32,
    other_cell: F32,
    steps: int = STEPS,
    *,
    gramian: Gramian | None = None,
) -> F32:
    """Move each row towards the solution of its least-squares problem.

    Each row is solved separately, so the result is the same, bit for bit, for any number of threads.

    Args:
        pairs: grouped by the n rows to solve; their items are rows of ``other``.
        other: (m, width) ``[x, o]`` of the other side.
        start: (n, width - 1), the starting point.
        towards: (n, width - 1), the point z0 that the ridge regularises towards.
        ridge: (n,) its strength.
        row_cell: (n,) factor of the weight of a row's cells, relative to an observed pair.
        other_cell: (m,) the same for the other side: a cell's weight is the product of its two factors.
        steps: steps of conjugate gradients; width - 1 give the exact solution up to rounding.
        gramian: that of all rows of the other side, where ``other`` has only those that the pairs name.

    Returns:
        float32 (n, width - 1). A row without pairs depends only on the cells and the ridge.
    """
    o = np.ascontiguousarray(other[:, -1])
    squares, against = gramian_of(other, other_cell) if gramian is None else gramian
    if not np.isfinite(squares).all():
        return np.full(start.shape, np.nan, np.float32)
    values, axes = np.linalg.eigh(squares.astype(np.float64))
    values, axes = np.maximum(values, 0.0).astype(np.float32), axes.astype(np.float32)
    x: F32 = np.ascontiguousarray(other[:, :-1]) @ axes
    weight = np.empty(0, np.float32) if pairs.weight is None else pairs.weight
    arrays = (pairs.item, pairs.label, weight, x, o, values, against @ axes)
    parts, solved = max(1, numba.get_num_threads()), np.empty(start.shape, np.float32)
    for first in range(0, len(start), ROWS):  # so that what a row needs is in memory for some rows at a time
        rows = slice(first, first + ROWS)
        indptr, turned = pairs.indptr[first : first + ROWS + 1], start[rows].astype(np.float32) @ axes
        share = np.searchsorted(indptr, indptr[0] + np.arange(parts + 1) * ((indptr[-1] - indptr[0]) / parts))
        share[0], share[-1] = 0, len(turned)
        own = towards[rows].astype(np.float32) @ axes, ridge[rows], row_cell[rows]
        _run(indptr, arrays, own, turned, steps, share)
        solved[rows] = turned @ axes.T
    return solved


def _run(
    indptr: NDArray[np.int64],
    arrays: tuple[NDArray[Any], ...],
    own: tuple[NDArray[Any], ...],
    turned: F32,
    steps: int,
    share: NDArray[np.int64],
) -> None:
    """Solve some rows, in parts of ``share``, each in a thread."""
    given: tuple[Any, ...] = (
        indptr,
        *arrays,
        *(of.astype(np.float32, copy=False) for of in own),
        turned,
        steps,
    )

    def run(part: int) -> None:
        _solve(*given, *share[part : part + 2])

    run_parts(run, len(share) - 1)


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _products(rows, n, z, out):  # type: ignore[no-untyped-def]
    """Write the products of the first n rows (n, width) with z (width,) to ``out``, four rows at a time."""
    width, fours = z.size, n - n % 4
    for j in range(0, fours, 4):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for k in range(width):
            a += rows[j, k] * z[k]
            b += rows[j + 1, k] * z[k]
            c += rows[j + 2, k] * z[k]
            d += rows[j + 3, k] * z[k]
        out[j], out[j + 1], out[j + 2], out[j + 3] = a, b, c, d
    for j in range(fours, n):
        a = np.float32(0)
        for k in range(width):
            a += rows[j, k] * z[k]
        out[j] = a


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _add_rows(rows, n, s, out):  # type: ignore[no-untyped-def]
    """Add the first n rows (n, width), times s (n,), to ``out`` (width,), four rows at a time."""
    width, fours = out.size, n - n % 4
    for j in range(0, fours, 4):
        a, b, c, d = s[j], s[j + 1], s[j + 2], s[j + 3]
        for k in range(width):
            out[k] += a * rows[j, k] + b * rows[j + 1, k] + c * rows[j + 2, k] + d * rows[j + 3, k]
    for j in range(fours, n):
        a = s[j]
        for k in range(width):
            out[k] += a * rows[j, k]


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _solve(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    indptr, item, target, weight, x, o, values, against, towards, ridge, row_cell, out, steps, first, last
):
    """Solve rows in the axes of the Gramian, in which the cells and the ridge are a diagonal."""
    width, most = x.shape[1], 1
    for row in range(first, last):
        most = max(most, indptr[row + 1] - indptr[row])
    near = np.empty((most, width), np.float32)  # the row's own, contiguous: fetched from memory once
    s = np.empty(most, np.float32)
    residual, way = np.empty(width, np.float32), np.empty(width, np.float32)
    image, diagonal, shrunk = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    weighted = weight.size > 0
    for row in range(first, last):
        z, r, c, start = out[row], ridge[row], row_cell[row], indptr[row]
        n = indptr[row + 1] - start
        for p in range(n):
            j = item[start + p]
            for k in range(width):
                near[p, k] = x[j, k]
        # residual = right side - A z
        _products(near, n, z, s)
        for p in range(n):
            s[p] = target[start + p] - o[item[start + p]] - s[p]
            if weighted:
                s[p] *= weight[start + p]
        least = np.float32(1e-7) * (r + c * values[width - 1]) + np.float32(1e-6)
        for k in range(width):
            diagonal[k] = r + c * values[k]
            shrunk[k] = np.float32(1) / (diagonal[k] + least)
            residual[k] = r * towards[row, k] - diagonal[k] * z[k] - c * against[k]
        _add_rows(near, n, s, residual)
        old = np.float32(0)
        for k in range(width):
            way[k] = shrunk[k] * residual[k]
            old += way[k] * residual[k]
        for _ in range(steps):
            if old <= np.float32(1e-20):
                break
            for k in range(width):
                image[k] = diagonal[k] * way[k]
            _products(near, n, way, s)
            if weighted:
                for p in range(n):
                    s[p] *= weight[start + p]
            _add_rows(near, n, s, image)
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
                new += shrunk[k] * residual[k] * residual[k]
            turn = new / old
            for k in range(width):
                way[k] = shrunk[k] * residual[k] + turn * way[k]
            old = new


def squared_error(U: F32, V: F32, pairs: Pairs) -> float:
    """Return the weighted mean over the pairs of (u . v - label)^2; 0 if the weights sum to 0. No gradient.

    Bitwise reproducible for a given number of threads.
    """
    U, V = np.ascontiguousarray(U), np.ascontiguousarray(V)
    weight = np.empty(0, np.float32) if pairs.weight is None else pairs.weight
    parts = max(1, numba.get_num_threads())
    share = np.searchsorted(pairs.indptr, np.arange(parts + 1) * (len(pairs) / parts))
    share[0], share[-1] = 0, pairs.n_users

    def run(part: int) -> tuple[float, float]:
        found: tuple[float, float] = _squared_error(
            U, V, pairs.indptr, pairs.item, pairs.label, weight, share[part], share[part + 1]
        )
        return found

    found = run_parts(run, parts)
    total = sum(of for _, of in found)
    return sum(of for of, _ in found) / total if total else 0.0


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def _squared_error(U, V, indptr, item, label, weight, first, last):  # type: ignore[no-untyped-def]
    total, weights = 0.0, 0.0
    for row in range(first, last):
        u = U[row]
        for p in range(indptr[row], indptr[row + 1]):
            v, s = V[item[p]], np.float32(0)
            for k in range(u.size):
                s += u[k] * v[k]
            w = 1.0 if weight.size == 0 else np.float64(weight[p])
            total += w * np.float64((s - label[p]) * (s - label[p]))
            weights += w
    return total, weights
