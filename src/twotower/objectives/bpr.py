"""BPR: a user's positive item should score above a random item that the user does not have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from twotower.config.bases import GradedSamplingConfig
from twotower.core.lists import Lists
from twotower.errors import ConfigError, DataError
from twotower.kernels.pairs import Pairs
from twotower.objectives.graded import graded_weights
from twotower.objectives.objective import Objective, PairLoss, Step, Workspace
from twotower.objectives.pointwise import check_shapes

_CHUNK = 65_536  # pairs whose vectors are in memory at once
_TRIES = 8  # attempts to draw a negative before the pair is left out


class BPRConfig(GradedSamplingConfig):
    """``bpr``: ranks; a user's positive item should score above a random one."""

    name: Literal["bpr"] = "bpr"


@dataclass(frozen=True)
class BPR(Objective):
    """``L = mean over pairs (u, i) and negatives j of log(1 + exp(U[u] . V[j] - U[u] . V[i]))``.

    Negatives are drawn uniformly from the items that the user does not have (Rendle, Freudenthaler, Gantner &
    Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009). Popular items are
    more likely to be in a step's ``V``; rows are then drawn in inverse proportion to that probability, so
    that the draw stays uniform over the catalogue.

    A pair counts by its weight times the square of its label, the grade: 1 for a positive, less for what was
    liked less.

    Degenerate cases: a pair for which no negative is found (the user has nearly everything) is left out;
    without pairs the loss is 0.

    Attributes:
        negatives: negatives for each pair, at least 1.

    Raises:
        ConfigError: ``negatives`` is below 1.
    """

    Config: ClassVar[type[BPRConfig]] = BPRConfig
    samples: ClassVar[bool] = True
    negatives: int = 4

    @classmethod
    def of(cls, config: BPRConfig, n_pairs: int, n_cells: int) -> Self:
        """Return the objective with its default number of negatives for each pair."""
        return cls()

    def __post_init__(self) -> None:
        if self.negatives < 1:
            raise ConfigError(f"bpr needs at least 1 negative for each pair; got {self.negatives}.")

    def weight(self, pairs: Pairs) -> float:
        """Return the sum of the graded weights, of pairs without a negative too; see `Objective`."""
        return float(graded_weights(pairs).sum())

    def __call__(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace | None = None,
        step: Step | None = None,
    ) -> PairLoss:
        """Return the loss and its gradients; see `Objective`.

        Raises:
            ValueError: the shapes of U and V do not match each other or the pairs.
            DataError: a pair's item is not a row of ``V``.
        """
        check_shapes(U, V, pairs)
        if len(pairs) and not 0 <= pairs.item.min() <= pairs.item.max() < len(V):
            raise DataError(
                f"`item` must lie in [0, {len(V)}), the rows of V; "
                f"got {pairs.item.min()} to {pairs.item.max()}."
            )
        U, V = U.detach(), V.detach()
        dU, dV = torch.zeros_like(U), torch.zeros_like(V)
        user = pairs.lists.owners()
        weight = graded_weights(pairs)
        drawn = draw_negatives(user, pairs, len(V), self.negatives, step or Step())  # (pairs, negatives)
        each = np.where(drawn >= 0, weight[:, None], 0.0)
        total = float(each.sum())
        if total <= 0:
            return PairLoss(0.0, dU, dV)
        loss = 0.0
        for start in range(0, len(pairs), _CHUNK):
            part = slice(start, start + _CHUNK)
            u, i = (torch.from_numpy(x[part].astype(np.int64)).to(U.device) for x in (user, pairs.item))
            own, liked = U[u], V[i]  # (n, dim)
            above = (own * liked).sum(dim=1)  # (n,)
            for at in range(self.negatives):
                j = torch.from_numpy(np.maximum(drawn[part, at], 0)).to(U.device)
                w = torch.from_numpy(each[part, at] / total).to(U)
                other = V[j]
                gap = (own * other).sum(dim=1) - above
                loss += float((w * F.softplus(gap)).double().sum())
                slope = (w * torch.sigmoid(gap))[:, None]
                dU.index_add_(0, u, slope * (other - liked))
                dV.index_add_(0, j, slope * own)
                dV.index_add_(0, i, -slope * own)
        return PairLoss(loss, dU, dV)


def draw_negatives(
    user: NDArray[np.int64], pairs: Pairs, n_items: int, each: int, step: Step
) -> NDArray[np.int64]:
    """Draw ``each`` negatives (rows of ``V``) for every pair, (pairs, each); -1 where none was found.

    Args:
        user: (n,) user row of each pair.
        pairs: n pairs.
        n_items: number of rows of ``V``.
        each: negatives per pair.
        step: the users' other items, the probability that a row is in ``V``, and the seed.
    """
    rng = np.random.Generator(np.random.SFC64(step.seed))
    own = np.sort(_keys(pairs.lists, n_items))
    if step.positives is not None:
        own = np.union1d(own, _keys(step.positives, n_items))
    edges = None
    if step.log_q is not None:
        edges = np.cumsum(np.exp(-step.log_q.astype(np.float64)))
    drawn = np.full(len(user) * each, -1, dtype=np.int64)
    owner = np.repeat(user, each)
    open_ = np.arange(len(drawn))
    for _ in range(_TRIES):
        if not len(open_) or not n_items:
            break
        if edges is None:
            found = rng.integers(0, n_items, len(open_))
        else:
            found = np.minimum(edges.searchsorted(rng.random(len(open_)) * edges[-1]), n_items - 1)
        keys = owner[open_] * n_items + found
        at = np.minimum(own.searchsorted(keys), max(len(own) - 1, 0))
        free = own[at] != keys
        drawn[open_[free]] = found[free]
        open_ = open_[~free]
    return drawn.reshape(len(user), each)


def _keys(lists: Lists, n_items: int) -> NDArray[np.int64]:
    keys: NDArray[np.int64] = lists.owners() * n_items + lists.values
    return keys
