"""`AutoUsers` and `AutoItems`: the towers of several models side by side, whose scores are added.

``[a, w b] . [c, d] = a . c + w b . d``: the weighted sum of the scores of several models is one dot product
of longer vectors.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from twotower.config import ModelConfig
from twotower.config.sections import NotNegative, Section
from twotower.core.blocks import EncodedShape
from twotower.kernels.layout import VectorLayout
from twotower.towers.arrays import SideArrays
from twotower.towers.fold_in import FoldInSettings
from twotower.towers.folding import FoldingUsers
from twotower.towers.tower import Tower


class AutoPart(Section):
    """One of the models that a chosen model consists of."""

    model: dict[str, Any]
    """The settings of its towers, with every "auto" resolved."""
    weight: NotNegative
    """What its scores are multiplied by."""
    fold_in: dict[str, Any] | None = None
    """For towers that don't read histories: what folding in needs to know of the training."""


class AutoConfig(ModelConfig):
    """``auto``: what the validation set finds best of several kinds of towers and their sums."""

    kind: Literal["auto"] = "auto"
    candidates: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "linear",
        "item_item",
        "sequence",
    )
    """Kinds of towers that are considered, the simplest first: a later one must be better than it by more
    than the interval of the difference; of those solved in closed form the best is taken. Those that read
    histories in order need a timestamp."""
    parts: tuple[AutoPart, ...] = ()
    """What was chosen, if more than one; set by training."""

    searched: ClassVar[dict[str, Any]] = {}

    @property
    def n_members(self) -> int:
        """One: the parts' members are added up."""
        return 1


class _Part:
    """What places a part's outputs in the vector of all.

    Attributes:
        config: of its towers.
        layout: of its own vectors.
        weight: of its scores.
    """

    def __init__(self, part: AutoPart) -> None:
        from twotower.towers.registry import TOWERS  # noqa: PLC0415  (this class is one of its parts)

        self.kind = TOWERS.get(part.model["kind"])
        self.config = self.kind.Config.model_validate(part.model)
        self.layout = VectorLayout(self.config.length, self.config.n_members)
        self.weight = part.weight / self.layout.members
        self.fold_in = None if part.fold_in is None else FoldInSettings(**part.fold_in)

    @property
    def width(self) -> int:
        """Latent numbers of its vectors."""
        return self.layout.dim - 2 * self.layout.members

    def split(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return latent numbers (rows, width) and the sum of the biases (rows, 1) of a tower's outputs."""
        latent, bias = self.layout.of_outputs(outputs)
        if self.config.normalise:
            latent = F.normalize(latent, dim=2) / self.config.temperature**0.5
        return latent.flatten(1), bias.sum(dim=1)


def widths_of(parts: Sequence[AutoPart]) -> list[int]:
    """Return how many latent numbers of each model there are in vectors of several, side by side."""
    return [_Part(part).width for part in parts]


def joined_dim(parts: Sequence[AutoPart]) -> int:
    """Return the length of vectors that consist of those of several models."""
    return sum(widths_of(parts)) + 2


class _Side(Tower):
    """The towers of one side, as one."""

    def __init__(self, shape: EncodedShape, config: AutoConfig, towers: Sequence[Tower]) -> None:
        nn.Module.__init__(self)
        self.shape, self.width, self.id_dropout = shape, config.length - 1, 0.0
        self.parts = nn.ModuleList(towers)
        self.places = [_Part(part) for part in config.parts]

    def from_features(self, side: SideArrays) -> torch.Tensor:
        """Return the outputs from features alone, (rows, width)."""
        return self._beside([tower.from_features(side) for tower in self.parts])  # type: ignore[operator]

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return the outputs of all parts, side by side, and the sum of their biases, (rows, width)."""
        return self._beside([tower(side) for tower in self.parts])

    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Raise `TypeError`: the towers that this one consists of combine their own features."""
        raise TypeError("towers that consist of others have no features of their own")

    @abstractmethod
    def _beside(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        """Return the outputs of all parts as one, (rows, width)."""


class AutoItems(_Side):
    """Items: the latent numbers of all parts, and the weighted sum of their biases."""

    def _beside(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        split = [place.split(one) for place, one in zip(self.places, outputs, strict=True)]
        bias = sum(place.weight * bias for place, (_, bias) in zip(self.places, split, strict=True))
        return torch.cat([*(latent for latent, _ in split), bias], dim=1)  # type: ignore[list-item]


class AutoUsers(_Side):
    """Users: the latent numbers of all parts, each times the weight of its scores.

    Parts that don't read histories are folded in; see `FoldingUsers`.
    """

    Config: ClassVar[type[ModelConfig]] = AutoConfig
    composed: ClassVar[bool] = True
    reads_history: ClassVar[bool] = True
    reads_context: ClassVar[bool] = True
    reads_statistics: ClassVar[bool] = True

    def __init__(self, shape: EncodedShape, config: AutoConfig, towers: Sequence[Tower]) -> None:
        super().__init__(shape, config, towers)
        self.ordered = any(tower.reads_history and tower.ordered for tower in towers)  # type: ignore[misc]
        self.reads_context = any(tower.reads_context for tower in towers)  # type: ignore[misc]

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: Any,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        """Return both towers; see `Tower.pair`."""
        pairs: tuple[list[Tower], list[Tower]] = ([], [])
        for part in map(_Part, config.parts):
            user, item = part.kind.pair(users, items, part.config, generator)
            if part.fold_in is not None:
                user = FoldingUsers(user, item, part.layout, part.fold_in)
            pairs[0].append(user)
            pairs[1].append(item)
        return cls(users[0], config, pairs[0]), AutoItems(items[0], config, pairs[1])

    def prepared(self, catalogue: SideArrays) -> tuple[torch.Tensor, ...] | None:
        """Return what the parts prepare, one after the other; see `Tower.prepared`."""
        rows = [tower.prepared(catalogue) or () for tower in self.parts]  # type: ignore[operator]
        self._prepared = [len(one) for one in rows]
        return tuple(row for one in rows for row in one) or None

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return the outputs of all parts, side by side, and the sum of their biases, (rows, width)."""
        if side.history is None or side.history.prepared is None:
            return super().forward(side)
        outputs, first = [], 0
        for tower, n in zip(self.parts, self._prepared, strict=True):
            own = side.history.prepared[first : first + n] if n else None
            outputs.append(tower(replace(side, history=replace(side.history, prepared=own))))
            first += n
        return self._beside(outputs)

    def _beside(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        split = [place.split(one) for place, one in zip(self.places, outputs, strict=True)]
        both = list(zip(self.places, split, strict=True))
        bias = sum(place.weight * bias for place, (_, bias) in both)
        return torch.cat([*(place.weight * latent for place, (latent, _) in both), bias], dim=1)  # type: ignore[list-item]
