"""`RowAdam`: Adam (Kingma and Ba 2015) applied only to the rows that a step uses.

A row's moments and its bias correction advance only in steps that use it. So the first step of a row is as
large as that of any other parameter, however rare its user or item is, and the cost of a step depends only on
the rows used. `torch.optim.SparseAdam` counts the steps of the whole table instead: after a
thousand of them, the first step of a row is 2.5 times the learning rate, and later ones up to 3.2 times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class RowAdam(torch.optim.Optimizer):
    """Adam for parameters (n, width) with sparse gradients, such as those of ``nn.Embedding(sparse=True)``.

    Its state are two values per weight and a count per row.

    Args:
        params: the parameters, or groups of them.
        lr: learning rate.
        betas: decay rates of the two moments.
        eps: added to the denominator.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every row that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group["lr"], group["betas"], group["eps"])
        return loss

    def _update(self, weight: torch.Tensor, lr: float, betas: tuple[float, float], eps: float) -> None:
        state = self.state[weight]
        if not state:
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
            state["count"] = torch.zeros(len(weight), device=weight.device)
        gradient = weight.grad.coalesce()  # type: ignore[union-attr]
        (rows,), values = gradient.indices(), gradient.values()  # (rows,), (rows, width)
        count = state["count"].index_select(0, rows).add_(1.0)
        mean = state["mean"].index_select(0, rows).lerp_(values, 1.0 - betas[0])
        square = state["square"].index_select(0, rows).lerp_(values.square(), 1.0 - betas[1])
        for name, now in (("count", count), ("mean", mean), ("square", square)):
            state[name].index_copy_(0, rows, now)
        unbias = [(1.0 - beta**count)[:, None] for beta in betas]
        stride = mean.div_(unbias[0]).mul_(lr).div_(square.div_(unbias[1]).sqrt_().add_(eps))
        weight.index_add_(0, rows, stride, alpha=-1.0)
