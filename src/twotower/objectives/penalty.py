"""L2 on the vectors of a step, each weighted by its share of the step's pairs."""

from __future__ import annotations

import torch


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

        strength * mean over pairs (u, i) of |u|^2 + |v|^2

    that is the weighted-lambda regularisation of Zhou et al. (2008): the vector of a user with more pairs is held
    back by more. The two places for biases are left out: their spread is the data's own.

    Args:
        U: (n_users, dim) as in `Objective`, biases in the last two places.
        V: (n_items, dim).
        dU: gradient to add to.
        dV: gradient to add to.
        user_share: (n_users,) share of the pairs that are the user's; sums to 1.
        item_share: (n_items,) the same for items.
        strength: factor of the penalty.
    """
    total = 0.0
    for vectors, gradient, share in ((U, dU, user_share), (V, dV, item_share)):
        latent = vectors[:, :-2]
        total += float(share @ latent.square().sum(dim=1))
        gradient[:, :-2].addcmul_(latent, share[:, None], value=2.0 * strength)
    return strength * total
