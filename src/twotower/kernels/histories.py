"""Running sums over histories: what a history tower has seen before each position, in one pass.

The rows of a history lie one after another, oldest first, and those of the next history follow. A row of the
result depends on the rows up to it of the same history, never on later ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from twotower.kernels.pair_loop import FASTMATH
from twotower.kernels.scans import scanned_gates, scanned_mean

Floats = NDArray[np.floating[Any]]


class DecayedMean(torch.autograd.Function):
    """``p_t = sum_s r^(t-s) x_s / sqrt(sum_s r^(t-s))`` over the rows ``s <= t`` of a history.

    A decay of its own for each dimension. Divided by the root, so that the length of the mean of independent
    rows does not depend on the length of the history.

    Arguments of ``apply``: rows (n, dim), float32 or float64; decays (dim,) of the same type, above 0 and at
    most 1; pointers int64 (histories + 1,). Returns (n, dim). Gradients: by the rows and by the decays.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, decay: torch.Tensor, indptr: NDArray[np.int64]) -> torch.Tensor:
        """Return the means."""
        x, r = _numpy(rows), _numpy(decay)
        sums = _decayed_sums(x, r, indptr)
        mass = _masses(r, int(np.diff(indptr).max(initial=0)))
        ctx.save_for_backward(decay)
        ctx.of = sums, mass, indptr
        return torch.from_numpy(_divided(sums, mass, indptr)).to(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Return the gradients by the rows and the decays."""
        (decay,) = ctx.saved_tensors
        sums, mass, indptr = ctx.of
        by_rows, by_decay = _decayed_back(_numpy(gradients[0]), sums, mass, _numpy(decay), indptr)
        return torch.from_numpy(by_rows).to(decay), torch.from_numpy(by_decay.sum(axis=0)).to(decay), None


class GatedSum(torch.autograd.Function):
    """``s_t = f_t s_(t-1) + (1 - f_t) h_t`` over the rows of a history, from ``s = 0``: a gated unit.

    Arguments of ``apply``: forget gates f and inputs h, (n, dim), float32 or float64; pointers int64
    (histories + 1,). Returns (n, dim). Gradients: by the gates and by the inputs.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: torch.Tensor, inputs: torch.Tensor, indptr: NDArray[np.int64]
    ) -> torch.Tensor:
        """Return the states."""
        f, h = _numpy(gates), _numpy(inputs)
        states = _gated(f, h, indptr)
        ctx.of = f, h, states, indptr
        return torch.from_numpy(states).to(gates)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        """Return the gradients by the gates and the inputs."""
        by_gate, by_input = _gated_back(_numpy(gradients[0]), *ctx.of)
        return torch.from_numpy(by_gate).to(gradients[0]), torch.from_numpy(by_input).to(gradients[0]), None


def decayed_mean(rows: torch.Tensor, decay: torch.Tensor, indptr: NDArray[np.int64]) -> torch.Tensor:
    """Return the means of `DecayedMean`, (n, dim); on a GPU by tensor operations."""
    if rows.device.type != "cpu":
        return scanned_mean(rows, decay, indptr)
    made: torch.Tensor = DecayedMean.apply(rows, decay, indptr)  # type: ignore[no-untyped-call]
    return made


def gated_sum(gates: torch.Tensor, inputs: torch.Tensor, indptr: NDArray[np.int64]) -> torch.Tensor:
    """Return the states of `GatedSum`, (n, dim); on a GPU by tensor operations."""
    if gates.device.type != "cpu":
        return scanned_gates(gates, inputs, indptr)
    made: torch.Tensor = GatedSum.apply(gates, inputs, indptr)  # type: ignore[no-untyped-call]
    return made


def decayed_end(
    rows: torch.Tensor, decays: torch.Tensor, at: torch.Tensor, indptr: torch.Tensor
) -> torch.Tensor:
    """Return the means of `DecayedMean` at the end of each history, (histories, n * dim), 0 for an empty one.

    Args:
        rows: (items, dim).
        decays: (n, dim), above 0 and at most 1; a mean for each row, side by side.
        at: int64 (events,), the row of each event.
        indptr: int64 (histories + 1,).
    """
    ends = _decayed_ends if len(indptr) > _FEW else _decayed_ends_here
    return torch.from_numpy(ends(*(_numpy(one) for one in (rows, decays, at, indptr)))).to(rows)


def gated_end(per_item: torch.Tensor, at: torch.Tensor, indptr: torch.Tensor) -> torch.Tensor:
    """Return the state of `GatedSum` at the end of each history, (histories, dim), 0 for an empty one.

    Args:
        per_item: (items, 2 * dim), forget gates and inputs side by side.
        at: int64 (events,), the row of each event.
        indptr: int64 (histories + 1,).
    """
    ends = _gated_ends if len(indptr) > _FEW else _gated_ends_here
    return torch.from_numpy(ends(*(_numpy(one) for one in (per_item, at, indptr)))).to(per_item)


_FEW = 64
"""Histories that are read by one thread, as starting others takes longer."""


def _numpy(values: torch.Tensor) -> Floats:
    return np.ascontiguousarray(values.detach().cpu().numpy())


def _masses(decay: Floats, longest: int) -> Floats:
    """Return the sum of weights at each place of a history, (longest, dim)."""
    powers = decay.astype(np.float64)[None, :] ** np.arange(longest)[:, None]
    return np.cumsum(powers, axis=0).astype(decay.dtype)


@njit(cache=True, parallel=True, fastmath=FASTMATH)
def _decayed_sums(x, decay, indptr):  # type: ignore[no-untyped-def]
    out = np.empty_like(x)
    for one in prange(indptr.size - 1):
        for t in range(indptr[one], indptr[one + 1]):
            if t == indptr[one]:
                out[t] = x[t]
            else:
                for k in range(x.shape[1]):
                    out[t, k] = decay[k] * out[t - 1, k] + x[t, k]
    return out


@njit(cache=True, parallel=True, fastmath=FASTMATH)
def _divided(sums, mass, indptr):  # type: ignore[no-untyped-def]
    out = np.empty_like(sums)
    for one in prange(indptr.size - 1):
        for t in range(indptr[one], indptr[one + 1]):
            for k in range(sums.shape[1]):
                out[t, k] = sums[t, k] / np.sqrt(mass[t - indptr[one], k])
    return out


@njit(cache=True, parallel=True, fastmath=FASTMATH)
def _decayed_back(gradient, sums, mass, decay, indptr):  # type: ignore[no-untyped-def]
    # A sum and a mass reach all later rows: both gradients are carried backwards. A share of histories has
    # a row of its own for the gradient of the decays, so that threads don't share memory.
    n_shares = min(64, max(1, indptr.size - 1))
    by_rows = np.empty_like(gradient)
    by_decay = np.zeros((n_shares, decay.size), dtype=gradient.dtype)
    for share in prange(n_shares):
        of_sum, of_mass = np.empty_like(decay), np.empty_like(decay)
        for one in range(share, indptr.size - 1, n_shares):
            of_sum[:] = 0
            of_mass[:] = 0
            first = indptr[one]
            for t in range(indptr[one + 1] - 1, first - 1, -1):
                for k in range(decay.size):
                    z = mass[t - first, k]
                    root = np.sqrt(z)
                    of_sum[k] = gradient[t, k] / root + decay[k] * of_sum[k]
                    of_mass[k] = decay[k] * of_mass[k] - np.float32(0.5) * gradient[t, k] * sums[t, k] / (
                        z * root
                    )
                    by_rows[t, k] = of_sum[k]
                    if t > first:
                        by_decay[share, k] += of_sum[k] * sums[t - 1, k] + of_mass[k] * mass[t - 1 - first, k]
    return by_rows, by_decay


@njit(cache=True, parallel=True, fastmath=FASTMATH)
def _gated(f, h, indptr):  # type: ignore[no-untyped-def]
    out = np.empty_like(h)
    for one in prange(indptr.size - 1):
        for t in range(indptr[one], indptr[one + 1]):
            for k in range(h.shape[1]):
                before = out[t - 1, k] if t > indptr[one] else np.float32(0)
                out[t, k] = f[t, k] * before + (np.float32(1) - f[t, k]) * h[t, k]
    return out


@njit(cache=True, parallel=True, fastmath=FASTMATH)
def _gated_back(gradient, f, h, states, indptr):  # type: ignore[no-untyped-def]
    by_gate, by_input = np.empty_like(f), np.empty_like(h)
    for one in prange(indptr.size - 1):
        carried = np.zeros_like(h[0])
        for t in range(indptr[one + 1] - 1, indptr[one] - 1, -1):
            for k in range(h.shape[1]):
                of = gradient[t, k] + carried[k]
                before = states[t - 1, k] if t > indptr[one] else np.float32(0)
                by_gate[t, k] = of * (before - h[t, k])
                by_input[t, k] = of * (np.float32(1) - f[t, k])
                carried[k] = of * f[t, k]
    return by_gate, by_input


def _decayed_ends_of(x, decays, at, indptr):  # type: ignore[no-untyped-def]  # pragma: no cover
    n, dim = decays.shape
    out = np.zeros((indptr.size - 1, n * dim), x.dtype)
    for one in prange(indptr.size - 1):
        mass = np.zeros(n * dim, x.dtype)
        for t in range(indptr[one], indptr[one + 1]):
            row = at[t]
            for j in range(n):
                for k in range(dim):
                    out[one, j * dim + k] = decays[j, k] * out[one, j * dim + k] + x[row, k]
                    mass[j * dim + k] = decays[j, k] * mass[j * dim + k] + 1
        if indptr[one + 1] > indptr[one]:
            for k in range(n * dim):
                out[one, k] /= np.sqrt(mass[k])
    return out


def _gated_ends_of(per_item, at, indptr):  # type: ignore[no-untyped-def]  # pragma: no cover
    dim = per_item.shape[1] // 2
    out = np.zeros((indptr.size - 1, dim), per_item.dtype)
    for one in prange(indptr.size - 1):
        for t in range(indptr[one], indptr[one + 1]):
            row = at[t]
            for k in range(dim):
                f = per_item[row, k]
                out[one, k] = f * out[one, k] + (1 - f) * per_item[row, dim + k]
    return out


_decayed_ends = njit(cache=True, parallel=True, fastmath=FASTMATH)(_decayed_ends_of)
_decayed_ends_here = njit(cache=True, nogil=True, fastmath=FASTMATH)(_decayed_ends_of)
_gated_ends = njit(cache=True, parallel=True, fastmath=FASTMATH)(_gated_ends_of)
_gated_ends_here = njit(cache=True, nogil=True, fastmath=FASTMATH)(_gated_ends_of)
