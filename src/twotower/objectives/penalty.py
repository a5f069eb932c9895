"""L2 penalty on the vectors of a step, each weighted by its number of pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.config.bases import ObjectiveConfig
from twotower.kernels.layout import VectorLayout
from twotower.kernels.pairs import Pairs

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


def penalty_shares(
    counts: NDArray[np.int64], total: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda one: one
) -> NDArray[np.float32]:
    """Return what one pair of each user (or item) adds to its share, float32 (n,).

    A vector with n_u pairs gets a share proportional to ``n_u ** FREQUENCY_POWER`` (frequency-scaled
    regularisation, Rendle et al., "Revisiting the Performance of iALS on Item Recommendation Benchmarks",
    RecSys 2022). This returns that share divided by n_u, so that a batch sums it over its own pairs and the
    batches of an epoch add up to the whole share; and multiplied by the number of training pairs, so that it
    is about 1.

    Args:
        counts: (n,) training pairs of each, at least 1.
        total: adds up sums over some rows to those over all; by default these are all.
    """
    weight = np.maximum(counts, 1).astype(np.float64)
    each = weight ** (FREQUENCY_POWER - 1.0)
    pairs, weighted = total(np.array([counts.sum(), (each * counts).sum()]))
    shares: NDArray[np.float32] = (each * pairs / weighted).astype(np.float32)
    return shares


def strength_of(config: ObjectiveConfig, pairs: Pairs, n_items: int) -> float:
    """Return the strength of the penalty on vectors.

    This is the regularisation itself, unless the objective has it in units of the noise. A ridge of r on the
    vectors of both sides reduces each singular value of U V' by r. It should remove what pure chance gives:
    for n pairs with targets y of n_users and n_items, the largest singular value is about
    ``sqrt(Q / n_users) + sqrt(Q / n_items)``, Q the sum of the weighted targets' squares (the edge of
    Marchenko and Pastur's law, 1967). Over both sides the geometric mean of the ridge is
    ``strength * n / sqrt(n_users * n_items)``.

    Args:
        config: the objective's settings, with every "auto" resolved.
        pairs: the training pairs.
        n_items: number of warm items.
    """
    given = config.regularisation
    assert given != "auto"
    if not config.in_noise:
        return given
    squares = 0.0
    for _, part in pairs.parts():
        weighted = part.label if part.weight is None else part.label * part.weight
        squares += float(np.square(weighted, dtype=np.float64).sum())
    sides = np.sqrt(pairs.n_users) + np.sqrt(n_items)
    return float(given * sides * np.sqrt(squares) / max(len(pairs), 1))
