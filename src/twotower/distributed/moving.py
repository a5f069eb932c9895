"""`send` and `fetched`: rows of large tables to the workers that have them, and back to the program's disk.

Rows travel some at a time. What comes back is written to files that are memory-mapped, so the program needs
memory for the rows that are on their way, and not for the tables.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.core.scratch import Scratch
from twotower.distributed.team import Team
from twotower.errors import TrainingError
from twotower.towers.table_files import no_room

PART = 1 << 25
"""Bytes of rows that are sent at once."""
AHEAD = 2
"""Such parts that are on their way while another is taken in."""
Rows = tuple[tuple[int, ...], str]
"""Shape of a row of a tensor, and its dtype."""


def send(team: Team, tensors: Mapping[str, tuple[torch.Tensor, NDArray[np.int64]]]) -> None:
    """Send tensors to the workers that have their rows, by ``put``.

    Args:
        team: the workers.
        tensors: name -> (rows, ...) and (workers + 1,) first row of each worker, and the number of all.
    """

    def calls() -> Iterator[tuple[int, str, Any]]:
        for name, (tensor, bounds) in tensors.items():
            row = tensor[:1].numel() * tensor.element_size()
            for worker, begin, end in _parts(bounds, row):
                first = int(bounds[worker])
                values = tensor[first + begin : first + end].detach().cpu().numpy()
                yield worker, "put", (name, begin, values)

    for _ in _ahead(team, calls()):
        pass


def fetched(
    team: Team, tensors: Mapping[str, tuple[Rows, NDArray[np.int64]]], space: Path | None
) -> dict[str, torch.Tensor]:
    """Return tensors whose rows the workers have, by ``rows``, memory-mapped.

    Args:
        team: the workers.
        tensors: name -> what a row is, and (workers + 1,) first row of each worker, and the number of all.
        space: a folder on the disk that has the space; None for that of temporary files.

    Raises:
        TrainingError: the disk is full, or can't be written to.
        LostWorkerError: a worker is lost.
    """
    found = {}
    folder = Path(tempfile.gettempdir()) if space is None else space
    try:
        with Scratch(folder) as scratch:
            for name, ((shape, dtype), bounds) in tensors.items():
                column = scratch.column(name, dtype)
                row = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
                asked = (
                    (worker, "rows", (name, begin, end, (shape, dtype)))
                    for worker, begin, end in _parts(bounds, row)
                )
                for values in _ahead(team, asked):
                    column.append(values.reshape(-1))
                found[name] = torch.from_numpy(scratch.take(name)).view(int(bounds[-1]), *shape)
    except OSError as error:
        raise TrainingError(no_room(folder, error)) from None
    return found


def _parts(bounds: NDArray[np.int64], row: int) -> Iterator[tuple[int, int, int]]:
    """Yield worker, first row and end, counted from 0 on the worker, of parts of at most `PART` bytes."""
    rows = max(1, PART // max(row, 1))
    for worker, (first, last) in enumerate(pairwise(bounds.tolist())):
        for begin in range(0, last - first, rows):
            yield worker, begin, min(begin + rows, last - first)


def _ahead(team: Team, calls: Iterable[tuple[int, str, Any]]) -> Iterator[Any]:
    """Yield the results of calls in their order, with some made ahead."""
    waiting: deque[Any] = deque()
    for worker, method, args in calls:
        waiting.append(team.call(worker, method, *args))
        if len(waiting) > AHEAD:
            yield from team.get([waiting.popleft()])
    while waiting:
        yield from team.get([waiting.popleft()])
