"""Custom layers: `RowTable`, an embedding table updated by rows, and `ByteDropout`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class RowTable(nn.Module):
    """A table (n, width) that is read and updated by rows.

    In training, reading gives autograd a copy of the rows as a leaf tensor and records which rows they were.
    So a backward pass computes a gradient for these rows alone, and the optimiser
    (`twotower.training.RowAdam`) updates only them. A dense gradient of a table of 2 M rows would cost more
    than the rest of a step.
    """

    def __init__(self, n: int, width: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n, width, generator=generator) * scale, requires_grad=False)
        self.still = False  # read without a gradient, never updated by the optimiser
        self.read: list[tuple[torch.Tensor, torch.Tensor]] = []

    def rows(self, index: torch.Tensor) -> torch.Tensor:
        """Return the rows of a distinct ``index`` int64 (n,): (n, width)."""
        values = self.weight[index]
        if self.training and torch.is_grad_enabled() and not self.still:
            values.requires_grad_(True)
            self.read.append((index, values))
        return values


class ByteDropout(nn.Module):
    """Dropout whose mask needs one random byte per unit.

    ``torch.dropout`` draws a float per unit on one thread, which costs more than the layer before it in
    networks of this size. The rate is rounded to a multiple of 1/256; kept values are scaled by the rounded
    rate, so the mean is exact. On other devices than the CPU it is ``torch.dropout``.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.threshold = min(round(rate * 256), 255)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values (any shape), with a share of them set to zero in training."""
        if not self.training or self.threshold == 0:
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.rate)
        # seeded by torch's generator, so one seed governs all
        seed = int(torch.randint(2**62, (1,)))
        drawn = np.random.Generator(np.random.SFC64(seed)).bytes(values.numel())
        kept = torch.frombuffer(bytearray(drawn), dtype=torch.uint8).view(values.shape) >= self.threshold
        return values * kept.to(values.dtype).mul_(256.0 / (256 - self.threshold))
