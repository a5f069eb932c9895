"""`SequenceUsers` and `SequenceItems`: a user is its history, read in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import nn

from twotower.config import ModelConfig
from twotower.config.named import PartName
from twotower.config.sections import Count, Share
from twotower.core.blocks import EncodedShape
from twotower.towers.arrays import SideArrays
from twotower.towers.draws import drawn_for
from twotower.towers.history import History
from twotower.towers.layers import ByteDropout, drawn
from twotower.towers.linear import LinearTower
from twotower.towers.poolings.pooling import Pooling
from twotower.towers.poolings.registry import POOLINGS
from twotower.towers.tower import Tower

MOST_DROPPED, LEAST_DROPPED, SHORT, FEW = 0.5, 0.1, 10.0, 150_000.0
"""The share that is dropped of histories of up to ``SHORT`` items on average or ``FEW`` in all, and the least
share, of many long ones."""
FEATURES = 0.02
"""Standard deviation of the initial weights of features."""
UNAWARE = 0.1
"""Share of the queries of a step whose context is hidden, so that the vectors without one are trained too."""


class SequenceConfig(ModelConfig):
    """``sequence``: the user tower reads what a user did, in the order of time, to tell what is next."""

    kind: Literal["sequence"] = "sequence"
    max_history: Count = 200
    """Only this many of a query's last interactions are read."""
    pooling: Annotated[
        tuple[Annotated[str, PartName("twotower.towers.poolings.registry:POOLINGS")], ...],
        Field(min_length=1),
    ] = ("decay", "recurrent")
    """How a history becomes one vector; the results of several are added. ``decay``: sums in which recent
    items count more. ``recurrent``: a state with gates. ``attention``: causal self-attention. ``mean``: all
    items alike."""
    rates: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5, 0.95)
    """With ``decay``: how much an item counts relative to the next one, at the start of training; a sum for
    each rate."""
    heads: Count = 2
    """With ``attention``: number of heads."""
    blocks: Count = 1
    """With ``attention``: number of blocks, one after the other."""
    dropout: Literal["auto"] | Annotated[float, Field(ge=0.0, lt=1.0)] = "auto"
    """Share of numbers dropped in training. ``auto``: 0.5 where histories have up to about 10 items on
    average or 150,000 in all; less with more, down to 0.1."""

    auto_dim: ClassVar[int] = 256
    searched: ClassVar[Mapping[str, Any]] = {
        "dim": [64, 128, 256],
        "dropout": {"low": 0.05, "high": 0.6},
    }
    samples: ClassVar[bool] = True

    @property
    def n_members(self) -> int:
        """Number of members; one unless set."""
        return 1 if self.ensemble_size == "auto" else self.ensemble_size

    @property
    def dropout_rate(self) -> float:
        """The share that is dropped; that of short histories while it is "auto"."""
        return 0.5 if self.dropout == "auto" else self.dropout

    @model_validator(mode="after")
    def _one_member(self) -> Self:
        if self.n_members != 1:
            raise ValueError(
                f"ensemble_size must be 1 (or 'auto') for sequence towers, got {self.ensemble_size}"
            )
        return self


class SequenceItems(LinearTower):
    """Items as candidates, and, in another object of the class, as parts of histories.

    ``vector = id row + numbers W + sum of the codes' rows / root of their number``. Both share the weights of
    features, and have id rows of their own: what follows an item is not what is like it. A linear function
    of a candidate's statistics is added to its bias, if there are any.
    """

    def __init__(
        self, shape: EncodedShape, n_ids: int, config: ModelConfig, generator: torch.Generator
    ) -> None:
        super().__init__(shape, n_ids, config, generator)
        with torch.no_grad():
            self.table.copy_(drawn(*self.table.shape, scale=FEATURES, generator=generator))
        self.statistics: nn.Parameter | None = None

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return (rows, width), the bias last."""
        vector = super().forward(side)
        if self.statistics is None or side.statistics is None:
            return vector
        added = side.statistics @ self.statistics
        return torch.cat([vector[:, :-1], vector[:, -1:] + added[:, None]], dim=1)

    def fast(self) -> list[nn.Parameter]:
        """Return the weights of statistics."""
        return [] if self.statistics is None else [self.statistics]

    def divisors(self, lengths: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Return the root of the number of values in each list, (rows,); see `Tower.divisors`."""
        return lengths.sqrt()

    def sharing(self, other: SequenceItems) -> SequenceItems:
        """Take over the weights of features of another tower, and return self."""
        self.constant, self.numbers, self.features = other.constant, other.numbers, other.features
        return self


class SequenceUsers(LinearTower):
    """Users as their histories, plus a linear function of their own features.

    An item of the history is its row of a `SequenceItems`, normalised; one that counts less than 1 (a
    dislike) is scaled by what is learnt. Poolings sum up the items so far. Without any history the
    vector is that of the features. A linear function of the context is added; without any context nothing is.
    """

    Config: ClassVar[type[ModelConfig]] = SequenceConfig
    reads_history: ClassVar[bool] = True
    reads_context: ClassVar[bool] = True
    reads_statistics: ClassVar[bool] = True
    causal: ClassVar[bool] = True

    def __init__(
        self,
        shape: EncodedShape,
        n_ids: int,
        config: SequenceConfig,
        generator: torch.Generator,
        inputs: SequenceItems,
    ) -> None:
        super().__init__(shape, None, config, generator)  # a user is its history: no row of its own
        del n_ids
        self.max_history = config.max_history
        self.inputs = inputs
        inner = config.length  # one more than the outputs: matrices of 256 columns are faster than of 255
        self.norm = nn.LayerNorm(inner)
        self.disliked = nn.Parameter(torch.ones(inner))
        self.dropout = ByteDropout(config.dropout_rate, "entries")
        self.poolings = nn.ModuleList(
            POOLINGS.get(name)(inner, config, generator, first=place == 0)
            for place, name in enumerate(config.pooling)
        )
        self.context = None
        if shape.context is not None:
            self.context = LinearTower(shape.context, None, config, generator)

    @classmethod
    def settled(cls, config: SequenceConfig, lengths: NDArray[np.int64]) -> SequenceConfig:
        """Return the settings with the share that is dropped."""
        if config.dropout != "auto":
            return config
        total, mean = float(lengths.sum()), float(lengths.sum() / max((lengths > 0).sum(), 1))
        share = max((SHORT / max(mean, SHORT)) ** (1 / 3), (FEW / max(total, FEW)) ** 0.5)
        return config.model_copy(update={"dropout": round(max(MOST_DROPPED * share, LEAST_DROPPED), 3)})

    @classmethod
    def pair(
        cls,
        users: tuple[EncodedShape, int],
        items: tuple[EncodedShape, int],
        config: Any,
        generator: torch.Generator,
    ) -> tuple[Tower, Tower]:
        """Return both towers; see `Tower.pair`."""
        candidates = SequenceItems(*items, config, generator)
        if items[0].statistics:
            candidates.statistics = nn.Parameter(torch.zeros(items[0].statistics))
        inputs = SequenceItems(*items, config, generator).sharing(candidates)
        return cls(*users, config, generator, inputs), candidates

    def forward(self, side: SideArrays) -> torch.Tensor:
        """Return the vectors after the whole history of each row, (rows, width)."""
        return self.in_context(self._without_context(side), side.context)

    def _without_context(self, side: SideArrays) -> torch.Tensor:
        history = side.history
        if history is None:
            return self.from_features(side)
        last = history.last(self.max_history)
        if not torch.is_grad_enabled():
            return self._ended(self.from_features(side), last)
        end = last.indptr[1:] - 1
        at = torch.where(last.indptr.diff() > 0, end, -1)
        return self.positions(replace(side, history=last), torch.arange(side.rows, device=end.device), at)

    def in_context(self, vector: torch.Tensor, context: SideArrays | None) -> torch.Tensor:
        """Add a linear function of the context; see `Tower.in_context`."""
        if context is None or self.context is None:
            return vector
        known = context.warm > 0
        if self.training:
            drawn = drawn_for(context.rows, "queries", partial(torch.rand, device=known.device))
            known = known & (drawn >= UNAWARE)
        return vector + torch.where(known[:, None], self.context.from_features(context), 0.0)

    def positions(self, side: SideArrays, row: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        """Return the vectors of queries at positions of histories, all histories in one pass.

        Args:
            side: users with their histories.
            row: int64 (queries,), the row of ``side`` that asks.
            at: int64 (queries,), the last entry of ``side.history`` that the query may read, one of its row;
                -1 for none.

        Returns:
            (queries, width).
        """
        vector = self.from_features(side)[row]
        assert side.history is not None
        asked = (at >= 0).nonzero(as_tuple=True)[0]
        if not len(asked):
            return vector
        return vector.index_add(0, asked, self._pooled(side.history)[at[asked]])

    def prepared(self, catalogue: SideArrays) -> tuple[torch.Tensor, ...]:
        """Return the normalised rows of all items, and what poolings make of each; see `Tower.prepared`."""
        rows = self._normed(self.inputs(catalogue))
        return rows, *(pooling.per_item(rows) for pooling in self._poolings)

    def padded(
        self, vector: torch.Tensor, items: torch.Tensor, grades: torch.Tensor, rows: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """Return the vectors of padded histories; see `Tower.padded`."""
        length = (items > 0).sum(dim=1, keepdim=True)
        place = torch.arange(items.shape[1], device=items.device)
        there = (place < length) & (place >= length - self.max_history)
        read = self._graded(rows[0][(items - 1).clamp(min=0)], grades[:, :, None])
        pooled: Any = sum(pooling.padded(read, there, length) for pooling in self._poolings)
        return torch.where(length > 0, vector + pooled[:, : self.width], vector)

    def _ended(self, vector: torch.Tensor, history: History) -> torch.Tensor:
        """Return the vectors (rows, width) after whole histories, without the positions before."""
        some = history.indptr.diff() > 0
        if not bool(some.any()):
            return vector
        if history.prepared is not None:
            (rows, *own), place = history.prepared, history.items
        else:
            distinct, place = torch.unique(history.items, return_inverse=True)
            rows = self._normed(self.inputs(history.catalogue.take(distinct)))
            own = [pooling.per_item(rows) for pooling in self._poolings]
        if not bool((history.grades == 1.0).all()):
            rows = self._graded(rows[place], history.grades[:, None])
            place = torch.arange(len(rows), device=rows.device)
            own = [pooling.per_item(rows) for pooling in self._poolings]
        ended = (
            pooling.ending(rows, per_item, place, history.indptr)
            for pooling, per_item in zip(self._poolings, own, strict=True)
        )
        pooled: Any = sum(ended)
        return vector + torch.where(some[:, None], pooled[:, : self.width], 0.0)

    @property
    def _poolings(self) -> list[Pooling]:
        return list(self.poolings)  # type: ignore[arg-type]

    def _normed(self, rows: torch.Tensor) -> torch.Tensor:
        """Return normalised rows, as wide as the poolings."""
        normed: torch.Tensor = self.norm(F.pad(rows, (0, 1)))
        return normed

    def _graded(self, rows: torch.Tensor, grades: torch.Tensor) -> torch.Tensor:
        """Return rows scaled by what is learnt of dislikes."""
        return rows * (1.0 - (1.0 - grades) * self.disliked)

    def _pooled(self, history: History) -> torch.Tensor:
        distinct, place = torch.unique(history.items, return_inverse=True)
        # the gradient of index_select is summed several times as fast as that of indexing
        rows = self._normed(self.inputs(history.catalogue.take(distinct)).index_select(0, place))
        if not bool((history.grades == 1.0).all()):
            rows = self._graded(rows, history.grades[:, None])
        rows, indptr = self.dropout(rows), history.indptr.cpu()
        pooled: torch.Tensor = sum(pooling(rows, indptr) for pooling in self.poolings)
        return pooled[:, : self.width]

    def fast(self) -> list[nn.Parameter]:
        """Return the parameters that learn at a multiple of the rate: of features and poolings."""
        own: list[Any] = [self.constant, self.numbers, self.table, self.disliked]
        own += [self.inputs.constant, self.inputs.numbers, self.inputs.table]
        if self.context is not None:
            own += [self.context.constant, self.context.numbers, self.context.table]
        return own + [one for pooling in self.poolings for one in pooling.fast()]  # type: ignore[operator]
