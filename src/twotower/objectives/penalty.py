"""L2 penalty on the vectors of a step, each weighted by its number of pairs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.kernels.layout import VectorLayout

FREQUENCY_POWER = 0.5
"""Between ridge regression (0: equal for all) and weighted-lambda (1: proportional to the pairs)."""


def vector_penalty(
    U: torch.Tensor,
    V: torch.Tensor,
    dU: torch.Tensor,
    dV: torch.Tensor,
    user_share: torch.Tensor,
    item_share: torch.Tensor,
    strength: float,
) -> float:
    """Add the gradient of the penalty to ``dU`` and ``dV``, in place, and return the penalty.

        strength * (sum_u share_u |u|^2 + sum_i share_i |v_i|^2)

    The biases are not penalised: their spread is a property of the data.

    Args:
        U: (n_users, dim) as in `Objective`, the vectors of one member.
        V: (n_items, dim).
        dU: gradient to add to.
        dV: gradient to add to.
        user_share: (n_users,) weight of each user, see `penalty_shares`; sums to about 1.
        item_share: (n_items,) the same for items.
        strength: factor of the penalty.
    """
    total = 0.0
    for vectors, gradient, share in ((U, dU, user_share), (V, dV, item_share)):
        latent = vectors[:, VectorLayout.LATENT]
        total += float(share @ latent.square().sum(dim=1))
        gradient[:, VectorLayout.LATENT].addcmul_(latent, share[:, None], value=2.0 * strength)
    return strength * total


def penalty_shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return what one pair of each user (or item) adds to its share, float32 (n,).

    A vector with n_u pairs gets a share proportional to ``n_u ** FREQUENCY_POWER`` (frequency-scaled
    regularisation, Rendle et al., "Revisiting the Performance of iALS on Item Recommendation Benchmarks",
    RecSys 2022). This returns that share divided by n_u, so that a batch sums it over its own pairs and the
    batches of an epoch add up to the whole share; and multiplied by the number of training pairs, so that it
    is about 1.

    Args:
        counts: (n,) training pairs of each, at least 1.
    """
    weight = np.maximum(counts, 1).astype(np.float64)
    each = weight ** (FREQUENCY_POWER - 1.0)
    shares: NDArray[np.float32] = (each * counts.sum() / (each * counts).sum()).astype(np.float32)
    return shares
