"""`Tables`: large tables whose rows are divided among workers, with the optimiser's moments of each row.

A step looks up the rows that it needs: a worker asks each other worker for the rows that are there, gets
their values, and sends back their gradients (row-wise sharding, as in Ivchenko et al., "TorchRec", RecSys
2022). So memory falls with the number of workers, and what is sent follows the rows of a step, not those of a
table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from twotower.distributed.group import Group


@dataclass(frozen=True, eq=False)
class _Round:
    """One exchange, in which each worker looked up rows of one table, or none.

    Attributes:
        values: (rows, width), those that this worker looked up, by their worker; None if it asked for none.
        counts: rows of them from each worker.
        tables: number of the table that each worker asked for; -1 for none.
        given: for each worker int64 rows here, counted from 0, that it asked for.
    """

    values: torch.Tensor | None
    counts: list[int]
    tables: list[int]
    given: list[torch.Tensor]


class DividedTable(nn.Embedding):
    """A table of which a worker has some rows, and reads any by calling it, within `Tables.serving`.

    Args:
        tables: those of the worker.
        number: of this one.
        rows: number of rows here.
        width: of each.
    """

    def __init__(self, tables: Tables, number: int, rows: int, width: int) -> None:
        weight = torch.empty(rows, width, device="cpu")
        super().__init__(rows, width, sparse=True, _weight=weight)
        self.tables, self.number = tables, number

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return rows of the whole table, (..., width), from whichever worker has them."""
        distinct, place = torch.unique(rows, return_inverse=True)
        values = self.tables.looked_up(self.number, distinct)
        return values.index_select(0, place.flatten()).view(*rows.shape, self.embedding_dim)


class Tables:
    """The divided tables of a worker. All workers make the same tables, and serve together.

    Args:
        group: the workers.
        bounds: table -> (workers + 1,) first row of each worker, and the number of all.
    """

    def __init__(self, group: Group, bounds: Mapping[str, NDArray[np.int64]]) -> None:
        self.group, self.bounds = group, bounds
        self._tables: list[tuple[DividedTable, torch.Tensor]] = []
        self._rounds: list[_Round] = []

    def made(self, name: str, width: int) -> DividedTable:
        """Return a table, by its name in ``bounds``, with the rows of this worker."""
        bounds = torch.tensor(self.bounds[name])
        rows = int(bounds.diff()[self.group.rank])
        table = DividedTable(self, len(self._tables), rows, width)
        self._tables.append((table, bounds))
        return table

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Look rows up within the block, however often; leave it when no worker looks up any more."""
        yield
        while self._exchanged(-1, torch.zeros(0, dtype=torch.int64)) is not None:
            pass

    def looked_up(self, number: int, rows: torch.Tensor) -> torch.Tensor:
        """Return rows of a table, (n, width), whose gradients `return_gradients` sends back.

        Args:
            number: of the table.
            rows: int64 (n,) of all, distinct and ascending.
        """
        found = self._exchanged(number, rows)
        assert found is not None
        assert found.values is not None
        return found.values

    @torch.no_grad()
    def _exchanged(self, number: int, rows: torch.Tensor) -> _Round | None:
        """Look up rows of a table (-1: of none) while the others do; None if no worker looks up any."""
        rank, size = self.group.rank, self.group.size
        counts, width = torch.zeros(size, dtype=torch.int64), 0
        if number >= 0:
            table, bounds = self._tables[number]
            counts, width = torch.searchsorted(rows, bounds).diff(), table.embedding_dim
            rows = rows - bounds[:-1].repeat_interleave(counts)
        asked = torch.zeros(size, 1 + size, dtype=torch.int64)  # number + 1, and rows of each other worker
        asked[rank, 0], asked[rank, 1:] = number + 1, counts
        self.group.add_up(asked)
        if not asked[:, 0].any():
            return None
        tables = (asked[:, 0] - 1).tolist()
        wanted = list(torch.split(rows.to(torch.int32), counts.tolist()))
        given = [one.long() for one in self.group.exchanged(wanted, asked[:, 1 + rank].tolist())]
        sent = [
            self._tables[table][0].weight[some].flatten() if table >= 0 else torch.zeros(0)
            for table, some in zip(tables, given, strict=True)
        ]
        got = self.group.exchanged(sent, (counts * width).tolist())
        values = None
        if number >= 0:
            trained = self._tables[number][0].weight.requires_grad
            values = torch.cat(got).view(-1, width).requires_grad_(trained)
        found = _Round(values, counts.tolist(), tables, given)
        self._rounds.append(found)
        return found

    def return_gradients(self) -> None:
        """Send the gradients of the rows that were looked up to their workers; give each table its own."""
        rounds, self._rounds = self._rounds, []
        if not rounds:
            return
        rank, size = self.group.rank, self.group.size
        own = [None if one.values is None else one.values.grad for one in rounds]
        there = torch.zeros(len(rounds), size)
        there[:, rank] = torch.tensor([float(gradient is not None) for gradient in own])
        self.group.add_up(there)
        parts = [
            torch.split(gradient, one.counts)
            for one, gradient in zip(rounds, own, strict=True)
            if gradient is not None
        ]
        sent = [torch.cat([torch.zeros(0), *(part[of].flatten() for part in parts)]) for of in range(size)]
        found: list[list[tuple[int, torch.Tensor]]] = [
            [(one.tables[of], one.given[of]) for one, some in zip(rounds, there, strict=True) if some[of] > 0]
            for of in range(size)
        ]
        lengths = [sum(len(rows) * self._width(table) for table, rows in of) for of in found]
        gradients: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        for of, flat in zip(found, self.group.exchanged(sent, lengths), strict=True):
            sizes = [len(rows) * self._width(table) for table, rows in of]
            for (table, rows), values in zip(of, torch.split(flat, sizes), strict=True):
                gradients.setdefault(table, []).append((rows, values.view(-1, self._width(table))))
        for number, several in gradients.items():
            weight: Any = self._tables[number][0].weight
            rows, values = (torch.cat(one) for one in zip(*several, strict=True))
            if len(rows):
                weight.grad = torch.sparse_coo_tensor(
                    rows[None], values, weight.shape, check_invariants=False
                )

    def _width(self, number: int) -> int:
        return self._tables[number][0].embedding_dim
