"""`MLPTower`: a tower with hidden layers (a multi-layer perceptron) over embeddings of the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import nn

from twotower.config import ModelConfig
from twotower.config.sections import Count
from twotower.core.blocks import EncodedShape
from twotower.towers.layers import ACTIVATIONS, BareLinear, ByteDropout, drawn
from twotower.towers.tower import Tower


class MLPConfig(ModelConfig):
    """``mlp``: towers with hidden layers, trained by gradients."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (128,)
    """Widths of the hidden layers of each tower."""
    embedding_dim: Count = 8
    """Length of the embedding of each category or categories column."""
    activation: Literal["relu", "gelu", "silu", "tanh"] = "relu"
    """Activation function between layers."""
    dropout: Literal["auto"] | Annotated[float, Field(ge=0.0, lt=1.0)] = "auto"
    """Share of hidden units dropped in training. ``auto``: 0.1."""
    shared_layers: bool = False
    """Whether both towers share all hidden layers but the first; needs two or more hidden layers."""

    searched: ClassVar[Mapping[str, Any]] = {
        **ModelConfig.searched,
        "hidden": [[64], [128], [256], [128, 64]],
        "embedding_dim": [4, 8, 16],
        "dropout": {"low": 0.0, "high": 0.5},
    }

    @property
    def dropout_rate(self) -> float:
        """The share that is dropped, "auto" resolved."""
        return 0.1 if self.dropout == "auto" else self.dropout

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return self.hidden

    @model_validator(mode="after")
    def _shared_needs_two(self) -> Self:
        if self.shared_layers and len(self.hidden) < 2:
            raise ValueError("shared_layers needs at least two hidden layers, as the first one is not shared")
        return self


class MLPTower(Tower):
    """A tower with hidden layers.

    Args:
        like: arrays whose columns the tower will read (their rows do not matter).
        n_ids: number of warm ids.
        config: sizes and dropout rates.
        tail: hidden layers after the first one, own or shared with the other tower.
        generator: source of the initial weights.
    """

    Config: ClassVar[type[ModelConfig]] = MLPConfig

    def __init__(
        self, shape: EncodedShape, n_ids: int, config: MLPConfig, tail: nn.Module, generator: torch.Generator
    ) -> None:
        super().__init__(shape, n_ids, config, config.embedding_dim, 0.1, generator)
        hidden, n_dense, n_coded = config.hidden, shape.n_dense, len(shape.ranges) * config.embedding_dim
        # the first layer in two parts: numbers need no gradient with respect to themselves
        self.from_numbers = linear(n_dense, hidden[0], generator, fan_in=n_dense + n_coded)
        self.from_codes = linear(n_coded, hidden[0], generator, bias=False, fan_in=n_dense + n_coded)
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = ByteDropout(config.dropout_rate)
        self.tail = tail
        self.out = MemberLinear(hidden[-1], self.width, config.n_members, generator)

    @classmethod
    def settled(cls, config: MLPConfig, lengths: NDArray[np.int64]) -> MLPConfig:
        """Return the settings with the share that is dropped."""
        return config.model_copy(update={"dropout": config.dropout_rate})

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: MLPConfig,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        """Return the user tower and the item tower; see `Tower.pair`."""
        user_tail = _tail(config, generator)
        item_tail = user_tail if config.shared_layers else _tail(config, generator)
        return cls(*users, config, user_tail, generator), cls(*items, config, item_tail, generator)

    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Return the part of the vector from features, (rows, dim - members)."""
        hidden = self.from_numbers.bias.expand(rows, -1) if numbers is None else self.from_numbers(numbers)
        if coded:
            hidden = hidden + self.from_codes(torch.cat(coded, dim=1))  # (rows, hidden)
        vector: torch.Tensor = self.out(self.tail(self.dropout(self.activation(hidden))))
        return vector


def _tail(config: MLPConfig, generator: torch.Generator) -> nn.Sequential:
    layers: list[nn.Module] = []
    for n_in, n_out in zip(config.hidden, config.hidden[1:], strict=False):
        layers += [
            linear(n_in, n_out, generator),
            ACTIVATIONS[config.activation](),
            ByteDropout(config.dropout_rate),
        ]
    return nn.Sequential(*layers)


def linear(
    n_in: int,
    n_out: int,
    generator: torch.Generator,
    *,
    bias: bool = True,
    gain: float = 1.0,
    fan_in: int = 0,
) -> nn.Linear:
    """Return a linear layer with He-scaled weights drawn from ``generator`` and zero bias."""
    layer = BareLinear(n_in, n_out, bias=bias)
    scale = gain * (2.0 / max(fan_in or n_in, 1)) ** 0.5
    layer.weight = nn.Parameter(drawn(n_out, n_in, scale=scale, generator=generator))
    if bias:
        layer.bias = nn.Parameter(torch.zeros(n_out))
    return layer


class MemberLinear(nn.Module):
    """A linear layer of equal blocks: each member reads its own share of the inputs for its own outputs.

    With one member it is a linear layer.
    """

    def __init__(self, n_in: int, n_out: int, members: int, generator: torch.Generator) -> None:
        super().__init__()
        own = n_in // members
        scale = 0.1 * (2.0 / own) ** 0.5
        self.weight = nn.Parameter(drawn(members, own, n_out // members, scale=scale, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (rows, n_out) for (rows, n_in)."""
        members, own, _ = self.weight.shape
        if members == 1:
            return torch.addmm(self.bias, values, self.weight[0])
        blocks = values.view(-1, members, own).transpose(0, 1)  # (members, rows, own)
        outputs = torch.bmm(blocks, self.weight)  # (members, rows, n_out / members)
        return outputs.transpose(0, 1).flatten(1) + self.bias
