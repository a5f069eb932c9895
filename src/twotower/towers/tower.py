"""`Tower`: features and id of one side to vectors.

``vector = f(features) + id vector``: a part from the features, and a part learnt from the user's or item's
own interactions. The id part starts near zero. In training by gradients it is dropped for a random share of
rows in each step, so that the features suffice by themselves; rows never seen have no id part and use
features alone.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import nn

from twotower.config import ModelConfig
from twotower.kernels.layout import VectorLayout
from twotower.towers.arrays import SideArrays
from twotower.towers.layers import ACTIVATIONS, ByteDropout, RowTable

LARGE_TABLE = 200_000
"""Larger feature tables are read by distinct rows, as id tables always are."""


class Tower(nn.Module):
    """One tower: (rows of `SideArrays`) -> (rows, width), for each member the vector and then the bias.

    Args:
        like: arrays whose columns the tower will read (their rows do not matter).
        n_ids: number of warm ids.
        config: sizes and dropout rates.
        embedded: numbers in the row of each code.
        scale: standard deviation of the initial rows, of ids and of codes.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        like: SideArrays,
        n_ids: int,
        config: ModelConfig,
        embedded: int,
        scale: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layout = VectorLayout(config.dim, config.n_members)
        self.width = layout.width  # each member's vector and its bias
        self.id_dropout = 0.1 if config.id_dropout == "auto" else config.id_dropout
        self.embedding_dim = embedded
        self.n_codes, self.n_dense, self.n_fields = like.n_codes, like.dense.shape[1], like.n_fields
        self.ids = RowTable(n_ids, self.width, scale, generator)
        with torch.no_grad():
            self.ids.weight[:, layout.biases] = 0.0  # biases start from none
        self.large = like.n_codes > LARGE_TABLE
        self.features: RowTable | nn.Parameter = (
            RowTable(like.n_codes, embedded, scale, generator)
            if self.large
            else nn.Parameter(torch.randn(like.n_codes, embedded, generator=generator) * scale)
        )

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return (rows, dim - members): for each member the vector, then the bias."""
        vector = self.from_features(side)
        shown = side.warm > 0
        if self.training and self.id_dropout > 0.0:
            shown = shown & (torch.rand(side.rows, device=shown.device) >= self.id_dropout)
        at = shown.nonzero(as_tuple=True)[0]
        return vector.index_add(0, at, self.ids.rows(side.warm[at] - 1))

    def from_features(self, side: SideArrays) -> torch.Tensor:
        """Return the part of the vector from features, without the id, (rows, dim - members)."""
        return self.combined(side.rows, side.dense, self._coded(side))

    @abstractmethod
    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Return the part of the vector from features, (rows, dim - members).

        Args:
            rows: number of rows.
            numbers: (rows, n_dense); None without numbers.
            coded: embeddings of code columns, (rows, columns * embedding_dim) each.
        """

    @abstractmethod
    def _joined(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of single codes int64 (rows, columns) in the form that `combined` needs."""

    def _coded(self, side: SideArrays) -> list[torch.Tensor]:
        """Return the embeddings of the single codes, then the mean of each list column."""
        if isinstance(self.features, RowTable):
            every = torch.cat([side.codes.reshape(-1), *(codes for _, codes in side.bags)])
            distinct, place = torch.unique(every, return_inverse=True)
            table = self.features.rows(distinct)
            ends = [side.codes.numel()]
            single = place[: ends[0]].reshape(side.codes.shape)
            bags = []
            for indptr, codes in side.bags:
                ends.append(ends[-1] + len(codes))
                bags.append((indptr, place[ends[-2] : ends[-1]]))
        else:
            table, single, bags = self.features, side.codes, list(side.bags)
        parts = [self._joined(single, table)] if single.shape[1] else []
        return parts + [F.embedding_bag(codes, table, indptr[:-1], mode="mean") for indptr, codes in bags]


class LayeredTower(Tower):
    """A tower with hidden layers.

    Args:
        like: arrays whose columns the tower will read (their rows do not matter).
        n_ids: number of warm ids.
        config: sizes and dropout rates; at least one hidden layer.
        tail: hidden layers after the first one, own or shared with the other tower.
        generator: source of the initial weights.
    """

    def __init__(
        self, like: SideArrays, n_ids: int, config: ModelConfig, tail: nn.Module, generator: torch.Generator
    ) -> None:
        super().__init__(like, n_ids, config, config.embedding_dim, 0.1, generator)
        hidden, n_dense, n_coded = config.widths, like.dense.shape[1], like.n_fields * config.embedding_dim
        # the first layer in two parts: numbers need no gradient with respect to themselves
        self.from_numbers = linear(n_dense, hidden[0], generator, fan_in=n_dense + n_coded)
        self.from_codes = linear(n_coded, hidden[0], generator, bias=False, fan_in=n_dense + n_coded)
        self.activation = ACTIVATIONS[config.activation]()
        self.dropout = ByteDropout(config.dropout)
        self.tail = tail
        self.out = MemberLinear(hidden[-1], self.width, config.n_members, generator)

    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Return the part of the vector from features, (rows, dim - members)."""
        hidden = self.from_numbers.bias.expand(rows, -1) if numbers is None else self.from_numbers(numbers)
        if coded:
            hidden = hidden + self.from_codes(torch.cat(coded, dim=1))  # (rows, hidden)
        vector: torch.Tensor = self.out(self.tail(self.dropout(self.activation(hidden))))
        return vector

    def _joined(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        if table.device.type != "cpu":
            return F.embedding(codes, table).flatten(1)
        # the same, with a gradient that is summed four times as fast; elsewhere in no fixed order
        rows, columns = codes.shape
        return table.index_select(0, codes.flatten()).view(rows, columns * table.shape[1])


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a layer without inputs has nothing to initialise
        layer = nn.Linear(n_in, n_out, bias=bias, device="meta")  # without weights, which are ours
    scale = gain * (2.0 / max(fan_in or n_in, 1)) ** 0.5
    layer.weight = nn.Parameter(torch.randn(n_out, n_in, generator=generator) * scale)
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
        draw = torch.randn(members, own, n_out // members, generator=generator)
        self.weight = nn.Parameter(draw * 0.1 * (2.0 / own) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return (rows, n_out) for (rows, n_in)."""
        members, own, _ = self.weight.shape
        if members == 1:
            return torch.addmm(self.bias, values, self.weight[0])
        blocks = values.view(-1, members, own).transpose(0, 1)  # (members, rows, own)
        outputs = torch.bmm(blocks, self.weight)  # (members, rows, n_out / members)
        return outputs.transpose(0, 1).reshape(len(values), -1) + self.bias
