"""`RowAdam` against torch's Adam, and the rows that it does not change."""

from __future__ import annotations

import numpy.testing as npt
import pytest
import torch

from twotower.towers import RowTable
from twotower.training import RowAdam


def table_of(n: int, width: int = 3, seed: int = 0) -> RowTable:
    return RowTable(n, width, 0.5, torch.Generator().manual_seed(seed)).train()


def test_it_is_adam_where_every_row_is_read() -> None:
    table = table_of(6)
    dense = torch.nn.Parameter(table.weight.detach().clone())
    ours, theirs = RowAdam({"table": table}), torch.optim.Adam([dense], lr=0.1, betas=(0.9, 0.999), eps=1e-8)
    target = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    for step in range(25):
        rate = 0.1 if step < 10 else 0.02
        order = torch.randperm(6, generator=torch.Generator().manual_seed(step))
        ours.zero_grad()
        (table.rows(order) - target[order]).pow(4).sum().backward()
        ours.step(rate)
        theirs.zero_grad()
        theirs.param_groups[0]["lr"] = rate
        (dense - target).pow(4).sum().backward()
        theirs.step()
        npt.assert_allclose(table.weight.detach(), dense.detach(), atol=2e-5)


def test_each_row_has_the_adam_of_the_steps_that_read_it() -> None:
    table = table_of(4)
    own = [torch.nn.Parameter(row.clone()) for row in table.weight.detach()]
    ours, theirs = RowAdam({"table": table}), [torch.optim.Adam([row], lr=0.05) for row in own]
    for step, rows in enumerate([[0, 1], [1], [1, 3], [0], [3, 0, 1], [1]]):
        ours.zero_grad()
        ((table.rows(torch.tensor(rows)) - step) ** 2).sum().backward()
        ours.step(0.05)
        for row in rows:
            theirs[row].zero_grad()
            ((own[row] - step) ** 2).sum().backward()
            theirs[row].step()
    npt.assert_allclose(
        table.weight.detach(), torch.stack([row.detach() for row in own]), rtol=1e-5, atol=1e-6
    )


def test_rows_not_read_keep_their_bits_and_moments() -> None:
    table = table_of(50)
    ours = RowAdam({"table": table})
    table.rows(torch.arange(50)).square().sum().backward()
    ours.step(0.1)
    before = {name: tensor.clone() for name, tensor in ours.tensors().items()}
    weight = table.weight.detach().clone()
    read = torch.tensor([4, 31])
    rest = torch.tensor([r for r in range(50) if r not in (4, 31)])
    table.rows(read).square().sum().backward()
    ours.step(0.1)
    assert torch.equal(table.weight.detach()[rest], weight[rest])
    assert not torch.equal(table.weight.detach()[read], weight[read])
    for name, tensor in ours.tensors().items():
        assert torch.equal(tensor[rest], before[name][rest])
        assert not torch.equal(tensor[read], before[name][read])


def test_forgotten_rows_do_not_move() -> None:
    table = table_of(5)
    weight = table.weight.detach().clone()
    ours = RowAdam({"table": table})
    table.rows(torch.tensor([1, 2])).square().sum().backward()
    ours.zero_grad()
    ours.step(0.1)
    assert torch.equal(table.weight.detach(), weight)


def test_rows_without_a_gradient_do_not_move() -> None:
    table = table_of(5)
    weight = table.weight.detach().clone()
    ours = RowAdam({"table": table})
    table.rows(torch.tensor([1, 2]))
    table.rows(torch.zeros(0, dtype=torch.int64)).sum().backward()
    ours.step(0.1)
    assert torch.equal(table.weight.detach(), weight)


@pytest.mark.parametrize("training", [False, True])
def test_reading_outside_training_leaves_no_trace(training: bool) -> None:
    table = table_of(5).train(training)
    with torch.no_grad():
        values = table.rows(torch.tensor([3, 0]))
    assert torch.equal(values, table.weight[[3, 0]])
    assert not table.read
    assert not values.requires_grad


def test_moments_come_back() -> None:
    tables = table_of(5), table_of(5)
    first, second = (RowAdam({"table": table}) for table in tables)
    for _ in range(3):
        tables[0].rows(torch.tensor([1, 4])).square().sum().backward()
        first.step(0.1)
    tables[1].load_state_dict(tables[0].state_dict())
    second.load({name: tensor.clone() for name, tensor in first.tensors().items()})
    for table, optimiser in zip(tables, (first, second), strict=True):
        table.rows(torch.tensor([0, 1])).square().sum().backward()
        optimiser.step(0.1)
    assert torch.equal(tables[0].weight, tables[1].weight)
