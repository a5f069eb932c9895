"""`RowAdam` against torch's Adam, and the rows that it does not change."""

from __future__ import annotations

from copy import deepcopy

import numpy.testing as npt
import pytest
import torch
from torch import nn

from twotower.towers.layers import row_table
from twotower.training import RowAdam


def table_of(n: int, width: int = 3, seed: int = 0) -> nn.Embedding:
    return row_table(n, width, 0.5, torch.Generator().manual_seed(seed))


def squares(table: nn.Embedding, rows: list[int]) -> None:
    """Give these rows a gradient, and no other."""
    table.zero_grad()
    table(torch.tensor(rows, dtype=torch.int64)).square().sum().backward()


def test_it_is_adam_where_every_row_is_read() -> None:
    table = table_of(6)
    dense = nn.Parameter(table.weight.detach().clone())
    ours, theirs = RowAdam([table.weight]), torch.optim.Adam([dense], betas=(0.9, 0.999), eps=1e-8)
    target = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    for step in range(25):
        order = torch.randperm(6, generator=torch.Generator().manual_seed(step))
        table.zero_grad()
        (table(order) - target[order]).pow(4).sum().backward()
        theirs.zero_grad()
        (dense - target).pow(4).sum().backward()
        for optimiser in (ours, theirs):
            optimiser.param_groups[0]["lr"] = 0.1 if step < 10 else 0.02
            optimiser.step()
        npt.assert_allclose(table.weight.detach(), dense.detach(), atol=2e-5)


def test_each_row_has_the_adam_of_the_steps_that_read_it() -> None:
    table = table_of(4)
    own = [nn.Parameter(row.clone()) for row in table.weight.detach()]
    ours, theirs = RowAdam([table.weight], lr=0.05), [torch.optim.Adam([row], lr=0.05) for row in own]
    for step, rows in enumerate([[0, 1], [1], [1, 3], [0], [3, 0, 1], [1]]):
        ours.zero_grad()
        ((table(torch.tensor(rows)) - step) ** 2).sum().backward()
        ours.step()
        for row in rows:
            theirs[row].zero_grad()
            ((own[row] - step) ** 2).sum().backward()
            theirs[row].step()
    npt.assert_allclose(
        table.weight.detach(), torch.stack([row.detach() for row in own]), rtol=1e-5, atol=1e-6
    )


def test_a_row_read_late_moves_as_far_as_any_and_with_torchs_own_over_twice_as_far() -> None:
    moves = {}
    for kind in (RowAdam, torch.optim.SparseAdam):
        table = table_of(2)
        optimiser = kind([table.weight], lr=0.01)
        for _ in range(1000):
            squares(table, [0])
            optimiser.step()
        before = table.weight.detach()[1].clone()
        squares(table, [1])
        optimiser.step()
        moves[kind] = (table.weight.detach()[1] - before).abs()
    npt.assert_allclose(moves[RowAdam], 0.01, rtol=1e-4)
    npt.assert_allclose(moves[torch.optim.SparseAdam], 0.001 * ((1 - 0.999**1001) / 0.001) ** 0.5, rtol=1e-4)


def test_a_row_read_twice_has_one_step_by_the_sum() -> None:
    tables = table_of(3), table_of(3)
    tables[0](torch.tensor([1, 2, 1])).sum().backward()
    tables[1](torch.tensor([2, 1])).mul(torch.tensor([[1.0], [2.0]])).sum().backward()
    for table in tables:
        RowAdam([table.weight]).step()
    assert torch.equal(tables[0].weight, tables[1].weight)


def test_rows_not_read_keep_their_bits_and_moments() -> None:
    table = table_of(50)
    ours = RowAdam([table.weight], lr=0.1)
    squares(table, list(range(50)))
    ours.step()
    before = {name: tensor.clone() for name, tensor in ours.state[table.weight].items()}
    weight = table.weight.detach().clone()
    read = torch.tensor([4, 31])
    rest = torch.tensor([r for r in range(50) if r not in (4, 31)])
    squares(table, [31, 4])
    ours.step()
    assert torch.equal(table.weight.detach()[rest], weight[rest])
    assert not torch.equal(table.weight.detach()[read], weight[read])
    assert set(before) == {"mean", "square", "count"}
    for name, tensor in ours.state[table.weight].items():
        assert torch.equal(tensor[rest], before[name][rest])
        assert not torch.equal(tensor[read], before[name][read])


@pytest.mark.parametrize("read", [None, []])
def test_without_gradients_no_row_moves(read: list[int] | None) -> None:
    table = table_of(5)
    weight = table.weight.detach().clone()
    if read is not None:
        squares(table, read)
    RowAdam([table.weight], lr=0.1).step()
    assert torch.equal(table.weight.detach(), weight)


def test_a_closure_is_called_once_and_its_loss_returned() -> None:
    table = table_of(5)
    calls: list[int] = []

    def closure() -> float:
        calls.append(1)
        squares(table, [1])
        return 7.5

    before = table.weight.detach().clone()
    assert RowAdam([table.weight]).step(closure) == 7.5
    assert calls == [1]
    assert not torch.equal(table.weight.detach(), before)


def test_the_state_comes_back() -> None:
    tables = table_of(5), table_of(5)
    first, second = (RowAdam([table.weight], lr=0.1) for table in tables)
    for _ in range(3):
        squares(tables[0], [1, 4])
        first.step()
    tables[1].load_state_dict(tables[0].state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    for table, optimiser in zip(tables, (first, second), strict=True):
        squares(table, [0, 1])
        optimiser.step()
    assert torch.equal(tables[0].weight, tables[1].weight)
