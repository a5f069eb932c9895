"""Where towers that rank by gradients start: the closed-form solution of `AllPairs`.

Descent from random vectors needs many epochs, and on small data it overfits before it has found what the
closed form finds in seven rounds. So linear towers of the same width are solved first (`LinearALS`), and
their scores, which lie between 0 and 1, are scaled to the size of logits. Linear towers take their weights;
others learn to predict the vectors from features, and their ids take the rest. Either way training starts at
the solution, for cold rows too.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from twotower.objectives.all_pairs import AllPairs
from twotower.objectives.penalty import strength_of
from twotower.towers import LinearTower, SideArrays, Tower, TwoTowerModel
from twotower.training.callback import CallbackList
from twotower.training.closed_form.id_als import from_features
from twotower.training.closed_form.linear_als import ALSConfig, LinearALS
from twotower.training.row_adam import RowAdam
from twotower.training.trainer import TrainingTask

ROUNDS = 7
"""Epochs of the closed form."""
STEPS, ROWS, RATE = 200, 4096, 0.005
"""Steps, rows a step and learning rate by which towers learn to predict the vectors from features."""


def start_at_solution(task: TrainingTask, scale: float) -> None:
    """Change the towers of a task, in place, to those of the closed form.

    Args:
        task: its towers read no histories.
        scale: what the scores of the closed form are multiplied by.
    """
    model, times = task.model, scale**0.5
    solved = _solved(task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        for name, side in (("users", task.users), ("items", task.items)):
            tower, start = getattr(model, name), getattr(solved, name)
            if isinstance(tower, LinearTower):
                tower.load_state_dict(start.state_dict())
                for weights in tower.parameters():
                    weights.data.mul_(times)
                continue
            ids = start.ids.weight.detach()
            vectors = (torch.from_numpy(from_features(start, side)).to(ids) + ids) * times
            _predict(tower, side, vectors)
            left = vectors - torch.from_numpy(from_features(tower, side)).to(vectors)
            tower.ids.weight.data.copy_(left)


def _solved(task: TrainingTask) -> TwoTowerModel:
    """Return linear towers of the same width, fitted to the pairs in closed form."""
    given, users, items = task.model.config, task.users, task.items
    config = LinearTower.Config(kind="linear", dim=given.length, ensemble_size=given.n_members)
    towers = TwoTowerModel(users.shape, items.shape, users.rows, items.rows, config, task.seed)
    settings = AllPairs.Config().settled(solved=True)
    loss = AllPairs.of(settings, len(task.pairs), users.rows * items.rows).on(task.pairs)
    closed = replace(
        task,
        model=towers.to(users.warm.device),
        objective=loss,
        settings=settings,
        penalty=strength_of(settings, task.pairs, items.rows),
    )
    trainer, silent = LinearALS(closed, ALSConfig()), CallbackList([])
    for number in range(1, ROUNDS + 1):
        trainer.epoch(number, silent)
    return towers


def _predict(tower: Tower, side: SideArrays, vectors: torch.Tensor) -> None:
    """Fit what a tower makes of features to vectors (rows, width), by squared error."""
    rates = [p for p in tower.parameters() if p.requires_grad and p is not tower.ids.weight]
    sparse = [p for p in rates if isinstance(tower.features, torch.nn.Embedding) and p is tower.table]
    dense = [p for p in rates if not any(p is one for one in sparse)]
    optimisers: list[torch.optim.Optimizer] = [torch.optim.AdamW(dense, lr=RATE)] if dense else []
    optimisers += [RowAdam(sparse, lr=RATE)] if sparse else []
    tower.train()
    for _ in range(STEPS if optimisers else 0):
        rows = torch.randint(side.rows, (min(ROWS, side.rows),)).to(vectors.device)
        tower.zero_grad(set_to_none=True)
        error = tower.from_features(side.take(rows)) - vectors[rows]  # (rows, width)
        torch.autograd.backward(error.square().sum(dim=1).mean())
        for optimiser in optimisers:
            optimiser.step()
    tower.zero_grad(set_to_none=True)
