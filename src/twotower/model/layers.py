"""`RowTable`: an embedding table whose cost per step follows the rows that the step reads, not the table."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class RowTable(nn.Module):
    """A table (n, width) that is read and updated by rows.

    Reading in training hands autograd a copy of the rows, a leaf of its own, and remembers which rows it was;
    so a backward pass makes a gradient as large as the rows read, and the optimiser
    (`twotower.training.RowAdam`) moves only them. A dense gradient of a table of 2 M rows would cost more
    than all the rest of a step.
    """

    def __init__(self, n: int, width: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, width, generator=generator) * scale, requires_grad=False)
        self.read: list[tuple[torch.Tensor, torch.Tensor]] = []

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Return the rows of a distinct ``index`` int64 (n,): (n, width)."""
        values = self.weight[index]
        if self.training and torch.is_grad_enabled():
            values.requires_grad_(True)
            self.read.append((index, values))
        return values
