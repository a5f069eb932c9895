"""`DividedStep`: a worker's part of each step of gradients: some users with their pairs, and some items."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.distributed.group import Group
from twotower.distributed.tables import Tables
from twotower.kernels.pairs import Pairs
from twotower.objectives import Objective, PairLoss, Step, Workspace
from twotower.towers import SideArrays, TwoTowerModel
from twotower.towers.draws import RowShare, sharing
from twotower.training.step_part import ItemVectors, Numbers, StepPart


class DividedStep(StepPart):
    """A worker's part of each step; see `StepPart`.

    The vectors of the step's items are sent to all workers, and their gradients are added up; so are those of
    layers. Gradients of rows of tables go to the workers that have the rows.

    Args:
        group: the workers.
        bounds: (workers + 1,) first item of each, and the number of all.
        tables: those whose rows are on several workers.
    """

    whole = False

    def __init__(self, group: Group, bounds: NDArray[np.int64], tables: Tables) -> None:
        self.group, self.bounds, self.tables, self.number = group, bounds, tables, group.rank

    def n_items(self, own: int) -> int:
        """Return the number of items of all workers."""
        return int(self.bounds[-1])

    def sum(self, values: Numbers) -> Numbers:
        """Return the sum over all workers."""
        summed = torch.from_numpy(np.array(values))
        self.group.add_up(summed)
        return summed.numpy()  # type: ignore[return-value]

    def joined(self, values: Numbers) -> tuple[Numbers, int]:
        """Return the arrays of all workers, one after the other; see `StepPart`."""
        parts = self.group.gathered(torch.from_numpy(np.ascontiguousarray(values)))
        first = sum(len(part) for part in parts[: self.number])
        return torch.cat(parts).numpy(), first  # type: ignore[return-value]

    def user_vectors(
        self, model: TwoTowerModel, side: SideArrays, queries: int, encode: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """Encode the queries here, with random numbers of the whole step; see `StepPart`."""
        history = None if side.history is None else side.history.last(model.users.max_history)
        here = {
            "rows": side.rows,
            "entries": 0 if history is None else len(history.items),
            "queries": queries,
        }
        counts, _ = self.joined(np.array([list(here.values())]))  # (workers, 3)
        before, total = counts[: self.number].sum(axis=0), counts.sum(axis=0)
        shares = {
            name: RowShare(n, int(every), slice(int(first), int(first) + n))
            for (name, n), first, every in zip(here.items(), before, total, strict=True)
        }
        with self.tables.serving(), sharing(shares):
            return encode() if queries else torch.zeros(0, model.dim)

    def item_vectors(
        self, model: TwoTowerModel, items: SideArrays, rows: NDArray[np.int64] | None
    ) -> ItemVectors:
        """Encode the worker's own items of a step, and get the vectors of the others; see `StepPart`."""
        first, last = self.bounds[self.number : self.number + 2]
        there = np.arange(self.bounds[-1]) if rows is None else rows
        at = torch.from_numpy(np.flatnonzero((there >= first) & (there < last)))
        every = torch.zeros(len(there), model.dim)
        own = every[:0]
        with self.tables.serving(), sharing({"rows": RowShare(len(at), len(there), at)}):
            if len(at):
                own = model.item_vectors(items.take(torch.from_numpy(there)[at] - int(first)))
        every[at] = own.detach()
        self.group.add_up(every)
        return ItemVectors(every, own, at)

    def loss(
        self,
        objective: Objective,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        *,
        workspace: Workspace,
        step: Step | None,
    ) -> PairLoss:
        """Return the worker's share of a step's loss; see `StepPart`."""
        terms = objective.terms()
        weights = [term.weight(pairs) for term in terms] if _divides(objective) else [None]
        if None in weights:
            return self._loss_of_all(objective, U, V, pairs, workspace, step)
        own = np.array(weights, dtype=np.float64)
        shares = own / np.maximum(self.sum(own), 1e-300)
        loss, dU, dV = 0.0, torch.zeros_like(U), torch.zeros_like(V)
        for term, share in zip(terms, shares.tolist(), strict=True):
            if share > 0.0:
                part = term.checked(U, V, pairs, workspace=workspace, step=step)
                loss += share * part.loss
                dU.add_(part.dU, alpha=share)
                dV.add_(part.dV, alpha=share)
        return PairLoss(loss, dU, dV)

    def _loss_of_all(
        self,
        objective: Objective,
        U: torch.Tensor,
        V: torch.Tensor,
        pairs: Pairs,
        workspace: Workspace,
        step: Step | None,
    ) -> PairLoss:
        """Return the worker's share of a loss that does not divide: every worker computes all of it."""
        users = self.group.gathered(U)
        weight = None if pairs.weight is None else self.joined(pairs.weight)[0]
        every = Pairs(
            _pointers(self.joined(pairs.lists.lengths)[0]),
            self.joined(pairs.item)[0],
            self.joined(pairs.label)[0],
            weight,
        )
        if step is not None and step.positives is not None:
            lengths, values = (self.joined(of)[0] for of in (step.positives.lengths, step.positives.values))
            step = Step(Lists.from_lengths(lengths, values), step.log_q, step.seed - self.number)
        found = objective.checked(torch.cat(users), V, every, workspace=workspace, step=step)
        first = sum(len(part) for part in users[: self.number])
        one = 1.0 / self.group.size
        return PairLoss(found.loss * one, found.dU[first : first + len(U)], found.dV * one)

    def backward(
        self,
        model: TwoTowerModel,
        users: tuple[torch.Tensor, torch.Tensor],
        items: tuple[torch.Tensor, torch.Tensor],
        vectors: ItemVectors,
    ) -> None:
        """Add up the gradients of all workers, and propagate them back; see `StepPart`."""
        summed = items[1][:, : model.dim].contiguous()
        self.group.add_up(summed)
        given = [users, items, (vectors.own, summed[vectors.at])]
        recorded = [(of, by) for of, by in given if of.requires_grad]
        if recorded:
            torch.autograd.backward([of for of, _ in recorded], [by for _, by in recorded])
        self._add_up_gradients(model)
        self.tables.return_gradients()

    def _add_up_gradients(self, model: TwoTowerModel) -> None:
        """Add up the gradients of all weights but rows of tables."""
        tables, trained = model.row_tables(), model.named_parameters()
        layers = [weight for name, weight in trained if weight.requires_grad and name not in tables]
        if not layers:
            return
        there = torch.tensor([float(weight.grad is not None) for weight in layers])
        parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in layers]
        flat = torch.cat([there, *(part.flatten() for part in parts)])
        self.group.add_up(flat)
        ends = np.cumsum([len(layers), *(weight.numel() for weight in layers)])
        for weight, any_has, (start, end) in zip(layers, flat, pairwise(ends), strict=False):
            weight.grad = flat[start:end].view_as(weight).clone() if any_has > 0 else None


def _divides(objective: Objective) -> bool:
    """Return whether what an objective says of its weight and terms is said of the loss that it computes.

    A subclass that computes another loss and says nothing is computed by all.
    """
    order = type(objective).__mro__

    def place(name: str) -> int:
        return next(at for at, kind in enumerate(order) if name in vars(kind))

    return min(place("weight"), place("terms")) <= place("__call__")


def _pointers(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
