"""`SideArrays`: encoded users or items as the tensors that a tower reads, on its device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.features import Bag, Codes, Dense, EncodedSide


@dataclass(frozen=True)
class SideArrays:
    """All features of users or of items, packed: numbers side by side, codes in one numbering.

    Attributes:
        warm: int64 (rows,); 0 for a cold row, else 1 + its row of the id table.
        dense: float32 (rows, n_dense).
        codes: int64 (rows, n_code_columns), rows of the one feature table.
        bags: for each list column int64 ``indptr (rows + 1,)`` and ``codes (entries,)`` of the same table.
        n_codes: rows of the feature table.
        ranges: the range ``[first, last)`` of that table for each code column, then for each list column.
    """

    warm: torch.Tensor
    dense: torch.Tensor
    codes: torch.Tensor
    bags: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    n_codes: int
    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def pack(cls, side: EncodedSide, device: torch.device) -> SideArrays:
        """Pack the blocks of an encoded side; each coded column gets a range of the feature table."""
        dense, codes, bags, offset = [], [], [], 0
        ranges: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        for block in side.blocks.values():
            match block:
                case Dense(values):
                    dense.append(values)
                case Codes(values, size):
                    codes.append(values.astype(np.int64) + offset)
                    ranges[0].append((offset, offset + size))
                    offset += size
                case Bag(indptr, values, size):
                    bags.append((_tensor(indptr, device), _tensor(values.astype(np.int64) + offset, device)))
                    ranges[1].append((offset, offset + size))
                    offset += size
                case _:
                    raise TypeError(f"a tower reads Dense, Codes and Bag, got {type(block).__name__}")
        n = side.rows
        return cls(
            _tensor(side.warm.astype(np.int64), device),
            _tensor(np.concatenate(dense, axis=1) if dense else np.zeros((n, 0), np.float32), device),
            _tensor(np.stack(codes, axis=1) if codes else np.zeros((n, 0), np.int64), device),
            tuple(bags),
            offset,
            (*ranges[0], *ranges[1]),
        )

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.warm)

    @property
    def n_fields(self) -> int:
        """Number of coded columns, single or list."""
        return self.codes.shape[1] + len(self.bags)

    def take(self, rows: torch.Tensor) -> SideArrays:
        """Return the given rows, int64 (n,)."""
        return SideArrays(
            self.warm[rows],
            self.dense[rows],
            self.codes[rows],
            tuple(_take_bag(indptr, codes, rows) for indptr, codes in self.bags),
            self.n_codes,
            self.ranges,
        )


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
