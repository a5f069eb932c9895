"""`ItemItemUsers`: a user is the sum of what it had, as an item-item matrix in two factors has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.towers.arrays import SideArrays
from twotower.towers.history import History
from twotower.towers.linear import LinearTower
from twotower.towers.tower import Tower


class ItemItemConfig(ModelConfig):
    """``item_item``: a user's vector is the sum over its history of a row for each item, times its grade."""

    kind: Literal["item_item"] = "item_item"
    dim: Literal["auto"] | Annotated[int, Field(ge=4)] = "auto"
    """Length of the vectors, including the two entries for the biases. ``auto``: 64, 128, and so on up to
    ``max_dim``; more than 512 while each doubling raises the validation metric by 1%, less if that is no
    worse. At most the number of items and 2: scores are then those of the whole item-item matrix."""
    max_dim: Annotated[int, Field(ge=4)] = 2048
    """Largest length that ``dim = "auto"`` may choose."""
    popularity: Literal["auto"] | Annotated[float, Field(ge=-1, le=1)] = "auto"
    """Scores of an item are multiplied by its popularity, a weighted count of its users that is 1 on average,
    to this power: below 0, popular items are recommended less. ``auto``: 0, or -0.15 or -0.3 where the
    validation metric is higher."""

    auto_dim: ClassVar[int] = 512
    searched: ClassVar[Mapping[str, Any]] = {"dim": [128, 256, 512]}

    @property
    def n_members(self) -> int:
        """Number of members; one unless set."""
        return 1 if self.ensemble_size == "auto" else self.ensemble_size

    @property
    def exponent(self) -> float:
        """The exponent of popularity; 0 unless set."""
        return 0.0 if self.popularity == "auto" else self.popularity

    @model_validator(mode="after")
    def _one_member(self) -> Self:
        if self.n_members != 1:
            raise ValueError(
                f"ensemble_size must be 1 (or 'auto') for towers of kind '{self.kind}', got "
                f"{self.ensemble_size}"
            )
        return self


class ItemItemUsers(LinearTower):
    """Users as what they had: ``sum over items i of grade_i * left_i``; the score of item j is that times
    ``right_j``, the vector of the item tower, a `LinearTower`.

    So ``left_i . right_j`` is what having i adds to the score of j. An item that is there several times
    counts once, with its highest grade. A user of whom no item counts has a vector from its own features.

    Attributes:
        inputs: the tower of ``left``; items without training interactions have it from their features.
    """

    Config: ClassVar[type[ModelConfig]] = ItemItemConfig
    reads_history: ClassVar[bool] = True
    ordered: ClassVar[bool] = False

    def __init__(
        self, shape: EncodedShape, config: ModelConfig, generator: torch.Generator, inputs: LinearTower
    ) -> None:
        super().__init__(shape, None, config, generator)  # a user is its history: no row of its own
        self.inputs = inputs

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: Any,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        """Return both towers; see `Tower.pair`."""
        inputs, candidates = (LinearTower(*items, config, generator) for _ in range(2))
        return cls(users[0], config, generator, inputs), candidates

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return the vectors of users with their histories, (rows, width)."""
        vector = self.from_features(side)
        if side.history is None:
            return vector
        history = _distinct(side.history)
        if history.prepared is not None:
            (rows,), place = history.prepared, history.items
        else:
            items, place = torch.unique(history.items, return_inverse=True)
            rows = self.inputs(history.catalogue.take(items))
        summed = F.embedding_bag(
            place,
            rows,
            history.indptr,
            mode="sum",
            per_sample_weights=history.grades.to(vector.dtype),
            include_last_offset=True,
        )
        owner = torch.repeat_interleave(history.indptr.diff())
        counts = torch.zeros(side.rows, dtype=torch.bool, device=vector.device)
        counts[owner[history.grades > 0]] = True
        return torch.where(counts[:, None], summed, vector)

    def prepared(self, catalogue: SideArrays) -> tuple[torch.Tensor, ...]:
        """Return ``left`` of all items; see `Tower.prepared`."""
        return (self.inputs(catalogue),)

    def padded(
        self, vector: torch.Tensor, items: torch.Tensor, grades: torch.Tensor, rows: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Return the vectors of padded histories; see `Tower.padded`."""
        there = items > 0
        place = torch.arange(items.shape[1], device=items.device)
        grade, other = grades[:, :, None], grades[:, None, :]
        # (rows, length, length): the same item is there elsewhere with a higher grade, or as high and earlier
        higher = (other > grade) | ((other == grade) & (place[None, :] < place[:, None]))
        again = ((items[:, :, None] == items[:, None, :]) & higher).any(dim=2)
        weight = grades * (there & ~again)
        summed = (rows[0][(items - 1).clamp(min=0)] * weight[:, :, None]).sum(dim=1)
        counts = ((grades > 0) & there).any(dim=1)
        return torch.where(counts[:, None], summed, vector)


def _distinct(history: History) -> History:
    """Return each item of a history once, with its highest grade, in the order of the items."""
    owner = torch.repeat_interleave(history.indptr.diff())
    keys = owner * history.catalogue.rows + history.items
    distinct, place = torch.unique(keys, return_inverse=True)
    if len(distinct) == len(keys):
        return history
    grades = torch.zeros(len(distinct), dtype=history.grades.dtype, device=keys.device)
    grades = grades.scatter_reduce(0, place, history.grades, "amax")
    user, items = distinct // history.catalogue.rows, distinct % history.catalogue.rows
    lengths = torch.bincount(user, minlength=len(history.indptr) - 1)
    indptr = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    return History(
        indptr,
        items,
        grades,
        torch.zeros_like(grades, dtype=torch.float64),
        history.catalogue,
        history.prepared,
    )
