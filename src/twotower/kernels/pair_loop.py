"""The pair loop: for each pair a dot product, a loss, its slope and two gradient rows. CPU, float32.

One loop serves all losses of a score. It processes a user's pairs in tiles: it computes a tile's scores, a
*tile loss* turns them into losses and slopes, and the slopes are added to the two gradients. The tile loss is
passed as a first-class Numba function and called once per tile, so the loop is compiled once for all losses,
and a new loss takes a few lines.

Each thread handles a contiguous range of users with about the same number of pairs, and is the only one to
write their rows of ``dU``. Items are shared between threads, so each thread adds to its own ``dV``; these are
then summed in thread order. The result does not depend on timing: the same number of threads gives the same
bits.

`fastmath` allows the sum of a dot product to be reordered, which SIMD needs. It does not assume that NaN and
infinity never occur: a diverged model must be visible in its loss.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numba
import numpy as np
from numba import njit, types
from numpy.typing import NDArray

FASTMATH = {"contract", "reassoc", "nsz", "arcp"}
TILE = 64  # pairs; 64 rows of 64 float32 take half of an L1 cache, so the second read is fast

_vector = types.Array(types.float32, 1, "C")
_given_vector = types.Array(types.float32, 1, "C", readonly=True)
_given_matrix = types.Array(types.float32, 2, "C", readonly=True)
_matrix = types.Array(types.float32, 2, "C")

T = TypeVar("T")
# (score, label, parameter, loss, slope) -> None; arrays (n,); the last two are outputs.
TileLoss = Callable[[Any, Any, Any, Any, Any], None]
_TILE_LOSS = types.void(_vector, _given_vector, types.float32, _vector, _vector)
_PAIR_LOOP = types.Tuple((types.float64, types.float64, types.int64))(  # type: ignore[no-untyped-call]
    _given_matrix,  # U
    _given_matrix,  # V
    types.Array(types.int64, 1, "C", readonly=True),  # indptr
    types.Array(types.int32, 1, "C", readonly=True),  # item
    _given_vector,  # label
    _given_vector,  # weight
    types.FunctionType(_TILE_LOSS),
    types.float32,  # parameter
    types.int64,  # first
    types.int64,  # last
    _matrix,  # dU
    _matrix,  # dV
)


@cache
def compile_tile_loss(tile_loss: TileLoss) -> Any:
    """Compile a tile loss written in plain Python; on first use, to keep imports fast.

    It has no sums, so `fastmath` is not needed and its arithmetic keeps the order written.
    """
    return njit(_TILE_LOSS, cache=True, fastmath={"contract"})(tile_loss)


@cache
def compile_pair_loop() -> Any:
    """Compile `_pair_loop`; first-class functions need an explicit signature."""
    return njit(_PAIR_LOOP, cache=True, nogil=True, fastmath=FASTMATH)(_pair_loop)


@cache
def _threads() -> ThreadPoolExecutor:
    """Python threads: the loop releases the GIL, and Numba's own threading would triple its compile time."""
    return ThreadPoolExecutor(os.cpu_count(), "twotower-pairs")


if hasattr(os, "register_at_fork"):  # a forked child does not inherit its parent's threads
    os.register_at_fork(after_in_child=_threads.cache_clear)


def run_parts(run: Callable[[int], T], parts: int) -> list[T]:
    """Return ``[run(0), run(1), ...]``, each run in its own thread."""
    others = [_threads().submit(run, part) for part in range(1, parts)]
    return [run(0), *(other.result() for other in others)]


def part_bounds(indptr: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """Split the users into one contiguous range per thread, with about equally many pairs each.

    Each part needs its own ``dV``, which has to be zeroed and summed: about three passes over the item rows,
    or the cost of ``n_items`` pairs. So the number of parts is limited by the number of pairs.

    Returns:
        (parts + 1,) int64; part ``t`` is the users ``bounds[t]:bounds[t + 1]``.
    """
    n_pairs = int(indptr[-1])
    parts = max(1, min(numba.get_num_threads(), n_pairs // max(n_items, 1)))
    bounds = np.searchsorted(indptr, np.arange(parts + 1) * (n_pairs / parts))
    bounds[0], bounds[-1] = 0, indptr.size - 1
    return bounds


def _pair_loop(  # type: ignore[no-untyped-def]  # noqa: PLR0912
    U, V, indptr, item, label, weight, tile_loss, parameter, first, last, dU, dV
):
    """Process users ``first:last``: write their rows of ``dU`` and add to ``dV``.

    Returns the weighted sum of the losses, the sum of the weights, and 1 if an item row lies outside ``V``
    (where it stops), else 0. The gradients are those of the sum. Item rows are unsigned, so that indexing
    skips the check for negative values.
    """
    width, n_items = U.shape[1], np.uint32(V.shape[0])
    score, slope = np.empty(TILE, dtype=np.float32), np.empty(TILE, dtype=np.float32)
    tile_losses = np.empty(TILE, dtype=np.float32)
    user, grad = np.empty(width, dtype=np.float32), np.empty(width, dtype=np.float32)
    weighted = weight.size > 0
    loss, total = 0.0, 0.0
    for u in range(first, last):
        for k in range(width):
            user[k] = U[u, k]
            grad[k] = 0
        for start in range(indptr[u], indptr[u + 1], TILE):
            stop = min(start + TILE, indptr[u + 1])
            n = stop - start
            fours = n - n % 4
            highest = np.uint32(0)
            for p in range(start, stop):
                highest = max(highest, np.uint32(item[p]))
            if highest >= n_items:
                return loss, total, 1

            # Four pairs at a time: the user's vector is read once for all four.
            for j in range(0, fours, 4):
                a, b = np.uint32(item[start + j]), np.uint32(item[start + j + 1])
                c, d = np.uint32(item[start + j + 2]), np.uint32(item[start + j + 3])
                s_a, s_b, s_c, s_d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                for k in range(width):
                    s_a += user[k] * V[a, k]
                    s_b += user[k] * V[b, k]
                    s_c += user[k] * V[c, k]
                    s_d += user[k] * V[d, k]
                score[j], score[j + 1], score[j + 2], score[j + 3] = s_a, s_b, s_c, s_d
            for j in range(fours, n):
                a = np.uint32(item[start + j])
                s_a = np.float32(0)
                for k in range(width):
                    s_a += user[k] * V[a, k]
                score[j] = s_a

            tile_loss(score[:n], label[start:stop], parameter, tile_losses[:n], slope[:n])
            if weighted:
                for j in range(n):
                    w = weight[start + j]
                    loss += np.float64(w * tile_losses[j])
                    total += np.float64(w)
                    slope[j] *= w
            else:
                for j in range(n):
                    loss += np.float64(tile_losses[j])
                total += n

            for j in range(0, fours, 4):
                a, b = np.uint32(item[start + j]), np.uint32(item[start + j + 1])
                c, d = np.uint32(item[start + j + 2]), np.uint32(item[start + j + 3])
                g_a, g_b, g_c, g_d = slope[j], slope[j + 1], slope[j + 2], slope[j + 3]
                for k in range(width):
                    grad[k] += g_a * V[a, k] + g_b * V[b, k] + g_c * V[c, k] + g_d * V[d, k]
            for j in range(fours, n):
                a, g_a = np.uint32(item[start + j]), slope[j]
                for k in range(width):
                    grad[k] += g_a * V[a, k]
            # One at a time, since an item may occur twice.
            for j in range(n):
                a, g_a = np.uint32(item[start + j]), slope[j]
                for k in range(width):
                    dV[a, k] += g_a * user[k]
        for k in range(width):
            dU[u, k] = grad[k]
    return loss, total, 0
