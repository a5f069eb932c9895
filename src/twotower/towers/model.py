"""`TwoTowerModel`: both towers, with biases and the global mean inside the vectors.

    score(u, i) = u . v + b_u + b_i  =  [u, b_u, 1] . [v, 1, b_i]

so the largest dot product is the largest score; `VectorLayout` says where what lies. With several members a
vector consists of several such vectors side by side, each trained on its own loss, and the score is the mean
of theirs: an ensemble (Dietterich 2000) that is still one dot product, and whose errors partly cancel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.kernels.layout import VectorLayout
from twotower.towers.arrays import SideArrays
from twotower.towers.registry import TOWERS

CHUNK = 65_536
"""Rows encoded at once outside training, so that memory doesn't grow with the catalogue."""


class TwoTowerModel(nn.Module):
    """The user tower and the item tower.

    Args:
        users: the columns that the user tower will read.
        items: the same for items.
        n_users: number of warm users.
        n_items: number of warm items.
        config: sizes and dropout rates.
        seed: of the initial weights.
        mean: constant added to every score.
    """

    def __init__(
        self,
        users: EncodedShape,
        items: EncodedShape,
        n_users: int,
        n_items: int,
        config: ModelConfig,
        seed: int,
        mean: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.mean: torch.Tensor
        generator = torch.Generator().manual_seed(seed)
        self.config = config
        self.layout = VectorLayout(config.length, config.n_members)
        pair = TOWERS.get(config.kind).pair
        self.users, self.items = pair((users, n_users), (items, n_items), config, generator)

    @property
    def dim(self) -> int:
        """Length of the vectors, including the two places for biases."""
        return self.config.length

    def forward(self, users: SideArrays, items: SideArrays) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors of users and items, (rows, dim) each."""
        return self.user_vectors(users), self.item_vectors(items)

    def user_vectors(self, side: SideArrays) -> torch.Tensor:
        """Return ``[u, b_u + mean, 1]`` of every member, one after the other, (rows, dim)."""
        return self.vectors_of(self.users(side), "users")

    def item_vectors(self, side: SideArrays) -> torch.Tensor:
        """Return ``[v, 1, b_i]`` of every member, one after the other, (rows, dim)."""
        return self.vectors_of(self.items(side), "items")

    def members(self, vectors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return each member's part of vectors (rows, dim): (rows, dim / members) each."""
        return torch.split(vectors, self.layout.size, dim=1)

    def vectors_of(self, outputs: torch.Tensor, which: str) -> torch.Tensor:
        """Return the vectors (rows, dim) of the outputs (rows, dim - members) of the tower of a side."""
        latent, bias = self.layout.of_outputs(outputs)
        if self.config.normalise:
            # each side carries the square root of 1 / temperature
            latent = F.normalize(latent, dim=2) / self.config.temperature**0.5
        if which == "users":
            return self.layout.users(latent, bias + self.mean)
        return self.layout.items(latent, bias)

    @torch.no_grad()
    def encode(self, side: SideArrays, which: str) -> torch.Tensor:
        """Return the vectors of every row, (rows, dim), without dropout, chunk by chunk.

        Users are divided by the number of members, so that a dot product is the mean of the members' scores.

        Args:
            side: the rows.
            which: "users" or "items".
        """
        was_training = self.training
        if was_training:
            self.eval()
        tower = self.user_vectors if which == "users" else self.item_vectors
        every = torch.arange(side.rows, device=side.warm.device)
        chunks = torch.split(every, CHUNK)
        parts = [tower(side.take(rows) if side.rows > CHUNK else side) for rows in chunks]
        if was_training:
            self.train()
        vectors = torch.cat(parts)
        return vectors / self.layout.members if which == "users" else vectors

    def row_tables(self) -> dict[str, torch.Tensor]:
        """Return the parameters with sparse gradients, by name; see `twotower.towers.layers.row_table`."""
        return {
            f"{name}.weight": module.weight
            for name, module in self.named_modules()
            if isinstance(module, nn.Embedding) and module.sparse
        }
