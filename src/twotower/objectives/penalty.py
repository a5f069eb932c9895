"""L2 on the vectors of a step, each weighted by how many pairs it has."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

FREQUENCY_POWER = 0.5
"""Between ridge regression (0: the same for all) and weighted-lambda (1: in proportion to pairs)."""


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

    The two places for biases are left out: their spread is the data's own.

    Args:
        U: (n_users, dim) as in `Objective`, biases in the last two places.
        V: (n_items, dim).
        dU: gradient to add to.
        dV: gradient to add to.
        user_share: (n_users,) weight of each user, see `penalty_shares`; sums to about 1.
        item_share: (n_items,) the same for items.
        strength: factor of the penalty.
    """
    total = 0.0
    for vectors, gradient, share in ((U, dU, user_share), (V, dV, item_share)):
        latent = vectors[:, :-2]
        total += float(share @ latent.square().sum(dim=1))
        gradient[:, :-2].addcmul_(latent, share[:, None], value=2.0 * strength)
    return strength * total


def penalty_shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return what one pair of each user (or item) adds to its share, float32 (n,).

    A vector with n_u pairs gets a share in proportion to ``n_u ** FREQUENCY_POWER`` (frequency-scaled
    regularisation, Rendle et al., "Revisiting the Performance of iALS on Item Recommendation Benchmarks",
    RecSys 2022). Returned is that share over n_u, so that a batch sums it over its own pairs and all batches
    of an epoch together apply the whole of it; times the number of train pairs, so that it is about 1.

    Args:
        counts: (n,) train pairs of each, at least 1.
    """
    weight = np.maximum(counts, 1).astype(np.float64)
    each = weight ** (FREQUENCY_POWER - 1.0)
    shares: NDArray[np.float32] = (each * counts.sum() / (each * counts).sum()).astype(np.float32)
    return shares
