"""`Tables`: values and gradients of tables on one machine, and what is sent, on threads that meet by Gloo."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from twotower.distributed.group import Group, Meeting
from twotower.distributed.tables import Tables

ROWS, WIDTHS = {"a": 7, "b": 11}, {"a": 3, "b": 5}


class CountedGroup(Group):
    """Counts the bytes that come from other workers by `exchanged`."""

    received = 0

    def exchanged(self, parts: list[torch.Tensor], lengths: list[int]) -> list[torch.Tensor]:
        got = super().exchanged(parts, lengths)
        self.received += sum(part.nbytes for of, part in enumerate(got) if of != self.rank)
        return got


def on_workers(size: int, work: Callable[[CountedGroup], Any]) -> list[Any]:
    """Return what each worker of a group returns."""
    meeting = Meeting("127.0.0.1")

    def joined(rank: int) -> Any:
        return work(
            CountedGroup(rank, size, "127.0.0.1", meeting.place, None if rank else meeting),
        )

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(joined, range(size)))


def even(size: int) -> dict[str, Any]:
    return {name: rows * np.arange(size + 1) // size for name, rows in ROWS.items()}


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_values_and_gradients_are_those_of_whole_tables(size: int) -> None:
    weights = {name: torch.randn(rows, WIDTHS[name]) for name, rows in ROWS.items()}
    rng = np.random.default_rng(size)
    # a worker looks up as many times as its number says, other tables than the others do, some rows twice
    lookups = [
        [("ab"[int(rng.integers(2))], rng.integers(0, 7, 4)) for _ in range(worker)] for worker in range(size)
    ]
    lookups[-1] += [("a", np.array([], np.int64)), ("b", np.array([10, 0, 10]))]

    def work(group: CountedGroup) -> Any:
        bounds = even(size)
        tables = Tables(group, bounds)
        own = {name: tables.made(name, WIDTHS[name]) for name in ROWS}
        with torch.no_grad():
            for name, table in own.items():
                first, last = bounds[name][group.rank : group.rank + 2]
                table.weight.copy_(weights[name][first:last])
        with tables.serving():
            found = [own[name](torch.from_numpy(rows)) for name, rows in lookups[group.rank]]
            if group.rank == 0:
                own["a"](torch.tensor([6]))  # read, and then not used
        loss: Any = sum((values.sin() * (group.rank + 1)).sum() for values in found)
        if found:
            loss.backward()
        tables.return_gradients()
        return [values.detach() for values in found], {name: table.weight.grad for name, table in own.items()}

    done = on_workers(size, work)
    whole = {name: nn.Embedding(*weight.shape, _weight=weight.clone()) for name, weight in weights.items()}
    used: dict[str, set[int]] = {name: set() for name in ROWS}
    for worker, ((found, _), asked) in enumerate(zip(done, lookups, strict=True)):
        for values, (name, rows) in zip(found, asked, strict=True):
            torch.testing.assert_close(values, weights[name][rows], rtol=0, atol=0)
            (whole[name](torch.from_numpy(rows)).sin() * (worker + 1)).sum().backward()
            used[name] |= set(rows.tolist())
    for name, rows in ROWS.items():
        every, there = torch.zeros(rows, WIDTHS[name]), set()
        for (_, gradients), first in zip(done, even(size)[name], strict=False):
            if gradients[name] is not None:
                own = gradients[name].coalesce()
                every[own.indices()[0] + int(first)] = own.values()
                there |= set((own.indices()[0] + int(first)).tolist())
        assert there == used[name]
        if used[name]:
            torch.testing.assert_close(every, whole[name].weight.grad)


def test_only_needed_rows_are_sent() -> None:
    asked = {0: [0, 1, 6, 9], 1: [2, 9, 9], 2: []}  # rows 0-2, 3-6 and 7-10 of b are on a worker each

    def work(group: CountedGroup) -> int:
        tables = Tables(group, even(3))
        table = tables.made("b", WIDTHS["b"])
        table.weight.requires_grad_()
        with tables.serving():
            values = table(torch.tensor(asked[group.rank], dtype=torch.int64))
        values.sum().backward()
        tables.return_gradients()
        return group.received

    # of each row that another worker has: its number, its values, and back its gradient
    number, values = 4, 4 * WIDTHS["b"]
    assert on_workers(3, work) == [
        2 * values + number + values,
        2 * values + number + values,
        2 * (number + values),
    ]
