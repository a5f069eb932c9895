"""`Tower`: features and id of one side to vectors.

``vector = f(features) + id vector``: a part from the features, and a part learnt from the user's or item's
own interactions. The id part starts near zero. In training by gradients it is dropped for a random share of
rows in each step, so that the features suffice by themselves; rows never seen have no id part and use
features alone.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.core.registry import reference
from twotower.core.reprs import shortened
from twotower.errors import ConfigError, TrainingError
from twotower.features.value_codes import UNKNOWN
from twotower.kernels.layout import VectorLayout
from twotower.towers.arrays import SideArrays
from twotower.towers.draws import drawn_for
from twotower.towers.layers import row_table

LARGE_TABLE = 200_000
"""Larger feature tables are read by distinct rows, as id tables always are."""


class Tower(nn.Module):
    """One tower: (rows of `SideArrays`) -> (rows, width), for each member the vector and then the bias.

    A kind of towers is a subclass with layers between features and vector (`combined`), made from
    ``(shape, n_ids, config, generator)``.

    Args:
        shape: the columns that the tower will read.
        n_ids: number of warm ids; None for a tower without rows of its own.
        config: sizes.
        embedded: numbers in the row of each code.
        scale: standard deviation of the initial rows, of ids and of codes.
        generator: source of the initial weights.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    """The settings of this kind of towers."""
    reads_history: ClassVar[bool] = False
    """Whether the user tower reads `SideArrays.history`. In training that is what a user did strictly before
    the target's time; of a model that is trained, everything that it did in the training set."""
    ordered: ClassVar[bool] = True
    """Whether histories are read in the order of time. If not, they need no times, and a user is one query in
    training, whose history holds its own targets: its trainer must leave them out."""
    reads_context: ClassVar[bool] = False
    """Whether the user tower reads `SideArrays.context`, by `in_context`."""
    reads_statistics: ClassVar[bool] = False
    """Whether the item tower has weights ``statistics``, of `SideArrays.statistics`."""
    composed: ClassVar[bool] = False
    """Whether it consists of towers of other kinds, which are trained by themselves."""
    causal: ClassVar[bool] = False
    """Whether the user tower gives the vectors of all positions of a history in one pass, by `positions`."""
    max_history: int = sys.maxsize
    """Most entries of a history that the user tower reads, the last ones."""

    def __init__(
        self,
        shape: EncodedShape,
        n_ids: int | None,
        config: ModelConfig,
        embedded: int,
        scale: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layout = VectorLayout(config.length, config.n_members)
        self.width = layout.width  # each member's vector and its bias
        self.id_dropout = 0.0
        """Share of rows whose id is hidden in training; set by a trainer."""
        self.embedding_dim = embedded
        self.shape = shape
        if n_ids is not None:
            self.ids = row_table(n_ids, self.width, scale, generator)
            with torch.no_grad():
                self.ids.weight[:, layout.biases] = 0.0  # biases start from none
        features = row_table(shape.n_codes, embedded, scale, generator)
        self.features: nn.Embedding | torch.Tensor = (
            features if shape.n_codes > LARGE_TABLE else features.weight
        )

    @property
    def table(self) -> torch.Tensor:
        """The embeddings of all codes, (n_codes, embedding_dim)."""
        return self.features.weight if isinstance(self.features, nn.Embedding) else self.features

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: Any,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        """Return the user tower and the item tower; a class whose towers share nothing needs no other.

        Args:
            users: the columns that the user tower will read, and the number of warm users.
            items: the same for items.
            config: settings, of type ``Config``.
            generator: source of the initial weights.
        """
        make: Any = cls  # a subclass has these arguments: shape, n_ids, config, generator
        return make(*users, config, generator), make(*items, config, generator)

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return (rows, dim - members): for each member the vector, then the bias.

        Raises:
            TrainingError: the part from features is of another form.
        """
        vector = self.from_features(side)
        dtype, shape = self.ids.weight.dtype, (side.rows, self.width)
        if not isinstance(vector, torch.Tensor) or vector.dtype != dtype or vector.shape != shape:
            raise TrainingError(
                f"towers must return (rows, dim - members) from features, <{dtype} {shape[0]}x{shape[1]}> "
                f"here; {reference(type(self))} returned {shortened(vector)}"
            )
        shown = side.warm > 0
        if self.training and self.id_dropout > 0.0:
            drawn = drawn_for(side.rows, "rows", partial(torch.rand, device=shown.device))
            shown = shown & (drawn >= self.id_dropout)
        at = shown.nonzero(as_tuple=True)[0]
        return vector.index_add(0, at, self.ids(side.warm[at] - 1))

    def from_features(self, side: SideArrays) -> torch.Tensor:
        """Return the part of the vector from features, without the id, (rows, dim - members)."""
        return self.combined(side.rows, side.dense, self._coded(side))

    def prepared(self, catalogue: SideArrays) -> tuple[torch.Tensor, ...] | None:
        """Return what is read of each item of a catalogue in any history, (rows, ...) each, so that it is
        made once for many queries; None where there is nothing to gain. The tower gets it back as
        `History.prepared`.
        """
        return None

    def padded(
        self, vector: torch.Tensor, items: torch.Tensor, grades: torch.Tensor, rows: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Return what `forward` does, (rows, width), in operations that ONNX can express.

        Args:
            vector: (rows, width), from features.
            items: int64 (rows, length), oldest first: 1 + the item's row; 0 after the end.
            grades: float32 (rows, length).
            rows: from `prepared`, for the catalogue of the model.

        Raises:
            ConfigError: there are no such operations for this tower.
        """
        raise ConfigError(
            f"towers of {type(self).__name__} read histories, and can't be written as ONNX: the class has no "
            "method padded; export a model of another kind, or write the method"
        )

    @classmethod
    def settled(cls, config: Any, lengths: NDArray[np.int64]) -> Any:
        """Return the settings with every "auto" resolved that depends on the lengths of histories, (n,)."""
        return config

    def positions(self, side: SideArrays, row: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Return the vectors of queries at positions of histories, (queries, width); of causal towers alone.

        The context in which they are asked is not in these; see `in_context`.

        Args:
            side: users with their histories.
            row: int64 (queries,), the row of ``side`` that asks.
            at: int64 (queries,), the last entry of ``side.history`` that the query may read, one of its row;
                -1 for none.

        Raises:
            TypeError: the towers are not causal.
        """
        raise TypeError(f"towers of {type(self).__name__} don't give all positions of a history in one pass")

    def in_context(self, vector: torch.Tensor, context: SideArrays | None) -> torch.Tensor:
        """Return the vectors (queries, width) of queries in their context, here the same.

        Args:
            vector: (queries, width), without the context.
            context: a row a query; None if nothing is known of it.
        """
        return vector

    def fast(self) -> list[nn.Parameter]:
        """Return parameters that learn at a multiple of the rate, where the trainer has such a multiple."""
        return []

    @abstractmethod
    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        """Return the part of the vector from features, (rows, dim - members).

        Args:
            rows: number of rows.
            numbers: (rows, n_dense); None without numbers.
            coded: embeddings of code columns, (rows, columns * embedding_dim) each.
        """

    def _joined(self, codes: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of single codes int64 (rows, columns), (rows, columns * embedding_dim)."""
        if table.device.type != "cpu":
            return F.embedding(codes, table).flatten(1)
        # the same, with a gradient that is summed four times as fast; elsewhere in no fixed order
        rows, columns = codes.shape
        return table.index_select(0, codes.flatten()).view(rows, columns * table.shape[1])

    def _coded(self, side: SideArrays) -> list[torch.Tensor]:
        """Return the embeddings of the single codes, then the mean of each list column."""
        if isinstance(self.features, nn.Embedding):
            every = torch.cat([side.codes.reshape(-1), *(codes for _, codes in side.bags)])
            distinct, place = torch.unique(every, return_inverse=True)
            table = self.features(distinct)
            ends = [side.codes.numel()]
            single = place[: ends[0]].reshape(side.codes.shape)
            bags = []
            for indptr, codes in side.bags:
                ends.append(ends[-1] + len(codes))
                bags.append((indptr, place[ends[-2] : ends[-1]]))
        else:
            table, single, bags = self.features, side.codes, list(side.bags)
        parts = [self._joined(single, table)] if single.shape[1] else []
        for (indptr, codes), (_, given), first in zip(bags, side.bags, self.shape.bags, strict=True):
            mean = F.embedding_bag(codes, table, indptr[:-1], mode="mean")
            lengths = indptr.diff()
            counts = torch.cat([indptr.new_zeros(1), (given != first + UNKNOWN).cumsum(0)])
            divisors = self.divisors(lengths, counts[indptr].diff())
            parts.append(mean if divisors is lengths else mean * (lengths / divisors)[:, None])
        return parts

    def divisors(self, lengths: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return what the sum of the rows of each list is divided by, (rows,): their number by default.

        Args:
            lengths: (rows,), the number of values in each list, at least 1.
            known: (rows,), those of them that are not the value "unknown".
        """
        return lengths
