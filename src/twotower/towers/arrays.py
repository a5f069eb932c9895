"""`SideArrays`: encoded users or items as the tensors that a tower reads, on its device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.core.blocks import Codes, Dense, EncodedShape
from twotower.core.reprs import ShortRepr
from twotower.features import EncodedSide
from twotower.towers.history import History


@dataclass(frozen=True, repr=False)
class SideArrays(ShortRepr):
    """All features of users or of items, packed: numbers side by side, codes in one numbering.

    Attributes:
        warm: int64 (rows,); 0 for a cold row, else 1 + its row of the id table.
        dense: float32 (rows, n_dense).
        codes: int64 (rows, n_code_columns), rows of the one feature table.
        bags: for each list column int64 ``indptr (rows + 1,)`` and ``codes (entries,)`` of the same table.
        shape: the form of each column.
        history: what each row did before, for towers that read histories; None if no row did anything.
        context: in what context each row asks, for towers that read it; its ``warm`` is 0 where nothing is
            known of it. None if nothing is known of any.
        statistics: float32 (rows, statistics) of items at the end of the training set, for towers that read
            them; None where nothing is known.
    """

    warm: torch.Tensor
    dense: torch.Tensor
    codes: torch.Tensor
    bags: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    shape: EncodedShape
    history: History | None = None
    context: SideArrays | None = None
    statistics: torch.Tensor | None = None

    @classmethod
    def pack(cls, side: EncodedSide, device: torch.device) -> SideArrays:
        """Pack the blocks of an encoded side; each coded column gets a range of the feature table."""
        shape, n, blocks = side.shape, side.rows, side.blocks
        dense = [np.zeros((n, 0), np.float32), *(b.values for b in blocks.values() if isinstance(b, Dense))]
        codes, bags = [np.zeros((n, 0), np.int64)], []
        for name, (first, _) in shape.ranges.items():
            block = blocks[name]
            assert not isinstance(block, Dense)
            placed = block.codes.astype(np.int64) + first
            if isinstance(block, Codes):
                codes.append(placed[:, None])
            else:
                bags.append((_tensor(block.indptr, device), _tensor(placed, device)))
        return cls(
            _tensor(side.warm.astype(np.int64), device),
            _tensor(np.concatenate(dense, axis=1), device),
            _tensor(np.concatenate(codes, axis=1), device),
            tuple(bags),
            shape,
        )

    @classmethod
    def joined(cls, parts: Sequence[SideArrays]) -> SideArrays:
        """Return the rows of several arrays of one shape, one after another: their features alone.

        Args:
            parts: at least one.
        """
        first, *others = parts
        if not others:
            return replace(first, history=None, context=None, statistics=None)
        return cls(
            torch.cat([part.warm for part in parts]),
            torch.cat([part.dense for part in parts]),
            torch.cat([part.codes for part in parts]),
            tuple(_joined_bags(bags) for bags in zip(*(part.bags for part in parts), strict=True)),
            first.shape,
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.warm)

    def take(self, rows: torch.Tensor) -> SideArrays:
        """Return the given rows, int64 (n,)."""
        return SideArrays(
            self.warm[rows],
            self.dense[rows],
            self.codes[rows],
            tuple(_take_bag(indptr, codes, rows) for indptr, codes in self.bags),
            self.shape,
            None if self.history is None else self.history.take(rows),
            None if self.context is None else self.context.take(rows),
            None if self.statistics is None else self.statistics[rows],
        )


def _joined_bags(
    bags: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.cat([indptr[1:] - indptr[:-1] for indptr, _ in bags])
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]), torch.cat([codes for _, codes in bags])


def _take_bag(
    indptr: torch.Tensor, codes: torch.Tensor, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    start, length = indptr[rows], indptr[rows + 1] - indptr[rows]
    taken = torch.zeros(len(rows) + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(length, 0, out=taken[1:])
    # place within its bag of each entry, then within all codes
    within = torch.arange(int(taken[-1]), device=rows.device) - taken[:-1].repeat_interleave(length)
    return taken, codes[start.repeat_interleave(length) + within]


def _tensor(values: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
