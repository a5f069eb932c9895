"""`RowAdam`: Adam (Kingma and Ba 2015) applied only to the rows that a step uses.

A row's moments and its bias correction advance only in steps that use it. So the first step of a row is as
large as that of any other parameter, however rare its user or item is, and the cost of a step depends only on
the rows used.
"""

from __future__ import annotations

import torch

from twotower.towers import RowTable

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class RowAdam:
    """Adam for the tables of a model.

    Args:
        tables: the tables, by name. Their moments are stored here: two values per weight and a count per row.
    """

    def __init__(self, tables: dict[str, RowTable]) -> None:
        self.tables = tables
        self.state = {
            name: (
                torch.zeros_like(table.weight),
                torch.zeros_like(table.weight),
                torch.zeros(len(table.weight), device=table.weight.device),
            )
            for name, table in tables.items()
        }

    def zero_grad(self) -> None:
        """Clear the rows used so far."""
        for table in self.tables.values():
            table.read.clear()

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every row that was used since `zero_grad` and has a gradient."""
        for name, table in self.tables.items():
            first, second, count = self.state[name]
            for index, values in table.read:
                if values.grad is None or not len(index):
                    continue
                times = count[index] + 1.0
                mean = torch.lerp(first[index], values.grad, 1.0 - BETA1)
                square = torch.lerp(second[index], values.grad.square(), 1.0 - BETA2)
                unbias1 = (1.0 - BETA1**times)[:, None]
                unbias2 = (1.0 - BETA2**times)[:, None]
                stride = learning_rate * (mean / unbias1) / ((square / unbias2).sqrt() + EPSILON)
                table.weight.data[index] = values.detach() - stride
                first[index], second[index], count[index] = mean, square, times
            table.read.clear()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the moments by name, for a checkpoint."""
        return {
            f"{name}.{part}": tensor
            for name, state in self.state.items()
            for part, tensor in zip(("mean", "square", "count"), state, strict=True)
        }

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Restore the moments from a checkpoint."""
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
