"""`scanned`: running sums over histories by tensor operations alone, for devices beyond Numba."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def scanned(factor: torch.Tensor, added: torch.Tensor, indptr: NDArray[np.int64]) -> torch.Tensor:
    """Return ``s_t = factor_t s_(t-1) + added_t`` over the rows of each history, from ``s = 0``.

    In as many steps as the longest history has binary digits: each step joins what twice as many rows give
    (Hillis and Steele 1986). Gradients follow by themselves.

    Args:
        factor, added: (n, dim).
        indptr: int64 (histories + 1,), the rows of each history.

    Returns:
        (n, dim)
    """
    lengths = np.diff(indptr)
    place = torch.from_numpy(np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)).to(added.device)
    step, longest = 1, int(lengths.max(initial=0))
    while step < longest:
        within = (place[step:] >= step)[:, None]
        before = torch.where(within, added[:-step], torch.zeros_like(added[:-step]))
        kept = torch.where(within, factor[:-step], torch.ones_like(factor[:-step]))
        added = torch.cat([added[:step], added[step:] + factor[step:] * before])
        factor = torch.cat([factor[:step], factor[step:] * kept])
        step *= 2
    return added


def scanned_mean(rows: torch.Tensor, decay: torch.Tensor, indptr: NDArray[np.int64]) -> torch.Tensor:
    """Return the means of `twotower.kernels.histories.DecayedMean`, (n, dim)."""
    factor = decay.expand_as(rows)
    mass = scanned(factor, torch.ones_like(rows), indptr)
    return scanned(factor, rows, indptr) / mass.sqrt()


def scanned_gates(gates: torch.Tensor, inputs: torch.Tensor, indptr: NDArray[np.int64]) -> torch.Tensor:
    """Return the states of `twotower.kernels.histories.GatedSum`, (n, dim)."""
    return scanned(gates, (1.0 - gates) * inputs, indptr)
