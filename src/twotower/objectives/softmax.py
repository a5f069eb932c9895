"""Softmax over the items of a step: each positive against all items that the user does not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F

from twotower.config.bases import GradedSamplingConfig
from twotower.config.sections import Count
from twotower.core.lists import Lists
from twotower.errors import ConfigError, DataError
from twotower.kernels.pairs import Pairs
from twotower.objectives.graded import graded_weights
from twotower.objectives.objective import Objective, PairLoss, Step, Workspace
from twotower.objectives.pointwise import check_shapes

_CELLS = 2**21  # users x items in memory at once: 8 MiB in float32, to stay in the cache


class SoftmaxConfig(GradedSamplingConfig):
    """``softmax``: ranks; each positive against the items of the step that the user does not have."""

    name: Literal["softmax"] = "softmax"
    hard_negatives: Count | None = None
    """Only this many negatives with the highest scores count for each user in a step; ``"none"``: all."""

    searched: ClassVar[Mapping[str, Any]] = {
        **GradedSamplingConfig.searched,
        "hard_negatives": ["none", 16, 64, 256],
    }


@dataclass(frozen=True)
class Softmax(Objective):
    """``L = sum_p w_p log(1 + sum_{j in N(u_p)} exp(l(u_p, j) - l(u_p, i_p))) / sum_p w_p``.

    ``l(u, i) = U[u] . V[i] / temperature``. The negatives ``N(u)`` of a user are the rows of ``V`` that are
    in none of the user's training pairs, in this step or others (accidental hits are masked). The rows of
    ``V`` decide what is sampled: the items of the batch's pairs, items drawn uniformly, or both (mixed
    negative sampling, Yang et al., WWW 2020); with the whole catalogue it is the full softmax.

    A sampled negative represents ``1 / q`` items, where ``q`` is its expected count in the sample, so its
    logit is reduced by ``log q`` (logQ correction; Bengio and Senecal 2008; Yi et al., RecSys 2019). The
    positive is always present and represents only itself, so its logit is not corrected. The expected sum
    over sampled negatives is then the sum over all negatives.

    A user's logits are computed once for all of the user's positives. ``w_p`` is the pair's weight times the
    square of its label, the grade: 1 for a positive, less for what was liked less, which is no negative
    either.

    Degenerate cases: pairs whose weights sum to 0, or no pairs, give loss 0 and zero gradients; a user
    without negatives adds 0.

    Attributes:
        temperature: above 0.
        hard: use only this many negatives with the highest logits per user (and ties); None for all. The sum
            then no longer estimates the sum over all items.

    Raises:
        ConfigError: ``temperature`` is not above 0 and finite, or ``hard`` is below 1.
    """

    Config: ClassVar[type[SoftmaxConfig]] = SoftmaxConfig
    samples: ClassVar[bool] = True
    temperature: float = 1.0
    hard: int | None = None

    @classmethod
    def of(cls, config: SoftmaxConfig, n_pairs: int, n_cells: int) -> Self:
        """Return the objective of a config."""
        return cls(hard=config.hard_negatives)

    def __post_init__(self) -> None:
        if self.hard is not None and self.hard < 1:
            raise ConfigError(
                f"softmax needs `hard` of at least 1, or None for all negatives; got {self.hard}."
            )
        if not (np.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"softmax needs a finite temperature above 0; got {self.temperature}.")

    def weight(self, pairs: Pairs) -> float:
        """Return the sum of the graded weights; see `Objective`."""
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
            ValueError: the shapes of U and V do not match each other or the pairs; ``step.log_q`` is not of
                shape (n_items,).
            DataError: a pair's item is not a row of ``V``.
        """
        check_shapes(U, V, pairs)
        step = step or Step()
        if step.log_q is not None and step.log_q.shape != (len(V),):
            raise ValueError(f"log_q must have shape ({len(V)},); got {step.log_q.shape}.")
        if len(pairs) and not 0 <= pairs.item.min() <= pairs.item.max() < len(V):
            raise DataError(
                f"`item` must lie in [0, {len(V)}), the rows of V; "
                f"got {pairs.item.min()} to {pairs.item.max()}."
            )
        U, V = U.detach(), V.detach()
        dU, dV = torch.zeros_like(U), torch.zeros_like(V)
        weight = graded_weights(pairs)
        total = float(weight.sum())
        if total <= 0:
            return PairLoss(0.0, dU, dV)
        log_q = None if step.log_q is None else torch.from_numpy(step.log_q).to(U)
        loss, lengths = 0.0, pairs.lists.lengths
        active = np.flatnonzero(lengths)  # users without pairs cost nothing
        block = max(1, _CELLS // max(len(V), 1))
        for start in range(0, len(active), block):
            users = active[start : start + block]
            own = np.repeat(np.arange(len(users)), lengths[users])  # each pair's user in the block
            first, last = pairs.indptr[users[0]], pairs.indptr[users[-1] + 1]
            barred = Lists.empty(len(users)) if step.positives is None else step.positives.of(users)
            rows = torch.from_numpy(users).to(U.device)
            part, gradient = self._block(
                U[rows],
                V,
                torch.from_numpy(own).to(U.device),
                torch.from_numpy(pairs.item[first:last].astype(np.int64)).to(U.device),
                torch.from_numpy(weight[first:last] / total).to(U),
                log_q,
                (
                    torch.from_numpy(barred.owners()).to(U.device),
                    torch.from_numpy(barred.values).long().to(U.device),
                ),
            )
            loss += part
            dU[rows] = gradient @ V
            dV.addmm_(gradient.T, U[rows])
        return PairLoss(loss, dU, dV)

    def _block(
        self,
        U: torch.Tensor,
        V: torch.Tensor,
        user: torch.Tensor,
        item: torch.Tensor,
        weight: torch.Tensor,
        log_q: torch.Tensor | None,
        barred: tuple[torch.Tensor, torch.Tensor],
    ) -> tuple[float, torch.Tensor]:
        """Return the summed loss of some users (n, dim) and its gradient by all scores, (n, n_items)."""
        U = U / self.temperature
        logits = U @ V.T if log_q is None else torch.addmm(-log_q, U, V.T)  # (n, n_items)
        positive = logits[user, item]  # (pairs,)
        if log_q is not None:
            positive += log_q[item]
        logits[user, item] = -torch.inf
        logits[barred] = -torch.inf
        if self.hard is not None and self.hard < logits.shape[1]:
            least = torch.topk(logits, self.hard, dim=1).values[:, -1:]  # (n, 1)
            logits.masked_fill_(logits < least, -torch.inf)
        # In place, with one exponential for both the sum and the shares: each pass over the matrix is
        # expensive.
        top = logits.amax(dim=1)  # (n,)
        top[torch.isneginf(top)] = 0.0  # no negatives: the sum is 0 and its log -inf
        terms = logits.sub_(top[:, None]).exp_()
        sums = terms.sum(dim=1)  # (n,) at least 1, or 0
        gap = (sums.log() + top)[user] - positive  # (pairs,)
        loss = float((weight * F.softplus(gap)).double().sum())
        slope = weight * torch.sigmoid(gap) / self.temperature  # (pairs,) derivative of each loss
        by_user = torch.zeros_like(sums).index_add_(0, user, slope)  # (n,)
        shares = terms.mul_((by_user / sums.clamp_min(1.0))[:, None])
        shares.index_put_((user, item), -slope, accumulate=True)
        return loss, shares
