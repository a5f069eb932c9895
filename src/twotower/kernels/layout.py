"""`VectorLayout`: where latent numbers, biases, the mean and members lie in vectors.

    user  [u, b_u + mean, 1]        item  [v, 1, b_i]

so that a dot product is ``u . v + b_u + b_i + mean``. A vector has this for each member, one after the other.
A tower's outputs are less, ``[u, b_u]`` or ``[v, b_i]`` of each member.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = TypeVar("Numbers", NDArray[np.float32], NDArray[np.float64], torch.Tensor)
"""Vectors as NumPy's or as torch's."""


@dataclass(frozen=True)
class VectorLayout:
    """The places of the parts of a vector.

    >>> layout = VectorLayout(dim=8, members=2)
    >>> layout.size, layout.width
    (4, 6)
    >>> layout.latent(np.arange(8.0)[None]).tolist()
    [[[0.0, 1.0], [4.0, 5.0]]]

    Attributes:
        dim: length of a vector.
        members: number of members; it divides ``dim``.
    """

    dim: int
    members: int = 1

    LATENT: ClassVar[slice] = slice(None, -2)
    """The latent numbers u or v in a member's vector."""
    USER_BIAS: ClassVar[int] = -2
    """The place of the user's bias in a member's vector, where an item has 1."""
    ITEM_BIAS: ClassVar[int] = -1
    """The place of the item's bias in a member's vector, where a user has 1."""

    @property
    def size(self) -> int:
        """Length of a member's vector."""
        return self.dim // self.members

    @property
    def width(self) -> int:
        """Number of a tower's outputs."""
        return self.dim - self.members

    @property
    def outputs(self) -> list[NDArray[np.int64]]:
        """The places of each member's outputs among a tower's, the bias last."""
        return np.array_split(np.arange(self.width), self.members)

    @property
    def biases(self) -> slice:
        """The places of the biases among a tower's outputs."""
        return slice(self.size - 2, None, self.size - 1)

    def of_outputs(self, outputs: Numbers) -> tuple[Numbers, Numbers]:
        """Return the latent numbers (rows, members, size - 2) and the biases (rows, members, 1) of a tower's
        outputs (rows, width)."""
        parts = outputs.reshape(len(outputs), self.members, self.size - 1)
        return parts[..., :-1], parts[..., -1:]

    def users(self, latent: Numbers, bias: Numbers) -> Numbers:
        """Return user vectors (rows, dim).

        Args:
            latent: (rows, members, size - 2).
            bias: (rows, members, 1), with the mean.
        """
        return _joined((latent, bias, _ones(bias)), self.dim)

    def items(self, latent: Numbers, bias: Numbers) -> Numbers:
        """Return item vectors (rows, dim); the arguments are as in `users`."""
        return _joined((latent, _ones(bias), bias), self.dim)

    def parts(self, vectors: Numbers) -> Numbers:
        """Return each member's vectors, (rows, members, size), of vectors (rows, dim): the same memory."""
        return vectors.reshape(len(vectors), self.members, self.size)

    def latent(self, vectors: Numbers) -> Numbers:
        """Return the latent numbers, (rows, members, size - 2), of vectors (rows, dim): the same memory."""
        return self.parts(vectors)[..., self.LATENT]

    def directions(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the latent numbers side by side, (rows, dim - 2 members), of vectors (rows, dim)."""
        return self.latent(vectors).reshape(len(vectors), -1)

    @classmethod
    def shift(cls, users: Any, constant: Any) -> None:
        """Add a constant to all scores of user vectors (..., dim), in place."""
        users[..., cls.USER_BIAS] += constant  # the last member's: the scores of the members are summed


def _ones(like: Numbers) -> Numbers:
    return torch.ones_like(like) if isinstance(like, torch.Tensor) else np.ones_like(like)


def _joined(parts: tuple[Numbers, ...], dim: int) -> Numbers:
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts, dim=2).flatten(1)
    return np.concatenate(parts, axis=2).reshape(-1, dim)
