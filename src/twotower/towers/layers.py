"""Custom layers: `row_table`, an embedding table with sparse gradients, `BareLinear` and `ByteDropout`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from twotower.towers.draws import drawn_for, seed_of
from twotower.towers.table_files import unfilled

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def drawn(*shape: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Return normal numbers of a scale; on the device "meta", on which models are loaded, only their shape.

    To compute there, torch imports its compiler, which takes a second.
    """
    return _filled(torch.empty(shape), scale, generator)


def _filled(empty: torch.Tensor, scale: float, generator: torch.Generator) -> torch.Tensor:
    return empty if empty.is_meta else torch.randn(empty.shape, generator=generator, out=empty).mul_(scale)


def row_table(n: int, width: int, scale: float, generator: torch.Generator) -> nn.Embedding:
    """Return a table (n, width) whose gradient has only the rows that were read (a sparse tensor).

    A dense gradient of a table of 2 M rows would cost more than the rest of a step.
    `twotower.training.RowAdam` updates such tables. Read them by calling them: on a cluster, a worker has
    some of the rows, and gets others when they are read.
    """
    weight = _filled(unfilled(n, width), scale, generator)
    return nn.Embedding(n, width, sparse=True, _weight=weight)


class BareLinear(nn.Linear):
    """A linear layer without initial weights: whoever makes it sets them."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class ByteDropout(nn.Module):
    """Dropout whose mask needs one random byte per unit.

    ``torch.dropout`` draws a float per unit on one thread, which costs more than the layer before it in
    networks of this size. The rate is rounded to a multiple of 1/256; kept values are scaled by the rounded
    rate, so the mean is exact. On other devices than the CPU it is ``torch.dropout``.

    Args:
        rate: share of the values that are set to zero.
        of: what the rows of the values are; see `twotower.towers.draws`.
    """

    def __init__(self, rate: float, of: str = "rows") -> None:
        super().__init__()
        self.rate, self.of = rate, of
        self.threshold = min(round(rate * 256), 255)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values (any shape), with a share of them set to zero in training."""
        if not self.training or self.threshold == 0 or not values.numel():
            return values
        if values.device.type != "cpu":
            return F.dropout(values, self.rate)
        # seeded by torch's generator, so one seed governs all
        seed = seed_of(int(torch.randint(2**62, (1,))), self.of)
        generator, shape = np.random.Generator(np.random.SFC64(seed)), values.shape[1:]

        def draw(n: int) -> torch.Tensor:
            drawn = bytearray(generator.bytes(n * shape.numel()))
            return torch.frombuffer(drawn, dtype=torch.uint8).view(n, *shape)

        kept = drawn_for(len(values), self.of, draw) >= self.threshold
        return values * kept.to(values.dtype).mul_(256.0 / (256 - self.threshold))
