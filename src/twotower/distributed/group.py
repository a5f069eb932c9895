"""`Group`: processes that add up and exchange arrays, without anybody in the middle."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from twotower.distributed.team import LostWorkerError

_net: Any = distributed
PATIENCE = timedelta(minutes=30)
"""Longest time in which a process may come to a call that the others have made."""


class Meeting:
    """Where processes find each other, at a port of the first of them.

    Args:
        host: address of this machine, at which the others reach it.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.store: Any = _net.TCPStore(host, 0, None, True, PATIENCE, wait_for_workers=False)

    @property
    def place(self) -> tuple[str, int]:
        """Address and port."""
        return self.host, self.store.port


class Group:
    """Some processes, by Gloo. All of them make the same calls in the same order.

    Args:
        rank: number of this one, from 0.
        size: of all.
        host: address of this machine, at which the others reach it.
        place: where the first one is; see `Meeting`.
        meeting: the meeting, for the first one.

    Raises:
        LostWorkerError: one of them is lost, here or in any call.
    """

    def __init__(
        self, rank: int, size: int, host: str, place: tuple[str, int], meeting: Meeting | None = None
    ) -> None:
        self.rank, self.size = rank, size
        self._group: Any = None
        if size == 1:
            return
        gloo: Any = _net.ProcessGroupGloo
        try:
            store = meeting.store if meeting else _net.TCPStore(*place, None, False, PATIENCE)
            options = gloo._Options()
            options._devices = [gloo.create_device(hostname=host)]  # by default that of the machine's name
            self._group = gloo(store, rank, size, options)
        except RuntimeError as error:
            raise _lost(error) from None

    def add_up(self, values: torch.Tensor) -> None:
        """Replace a tensor of the same shape in each process by the sum of them."""
        if self._group is not None and values.numel():
            self._wait(self._group.allreduce([values]))

    def gathered(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensors (n, ...) of all processes, whose n may differ."""
        if self._group is None:
            return [values]
        lengths = torch.zeros(self.size, dtype=torch.int64)
        lengths[self.rank] = len(values)
        self.add_up(lengths)
        most = int(lengths.max())
        if not most:
            return [values[:0]] * self.size
        given = values.new_zeros(most, *values.shape[1:])
        given[: len(values)] = values
        parts = [torch.empty_like(given) for _ in range(self.size)]
        self._wait(self._group.allgather([parts], [given]))
        return [part[:n] for part, n in zip(parts, lengths.tolist(), strict=True)]

    def exchanged(self, parts: list[torch.Tensor], lengths: list[int]) -> list[torch.Tensor]:
        """Send a part (n,) to each process, and return what each has sent here.

        Args:
            parts: one for each process, of one type.
            lengths: numbers that each process sends here.
        """
        if self._group is None:
            return parts
        sent = torch.cat(parts)
        got = sent.new_empty(sum(lengths))
        self._wait(self._group.alltoall_base(got, sent, lengths, [len(part) for part in parts]))
        return list(torch.split(got, lengths))

    def _wait(self, work: Any) -> None:
        try:
            work.wait()
        except RuntimeError as error:
            raise _lost(error) from None


def _lost(error: RuntimeError) -> LostWorkerError:
    return LostWorkerError(f"the connection between workers broke: {str(error).splitlines()[0][:200]}")
