"""`BlockVariational`: `Variational` on a cluster, with users and items in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.distributed.blocks import Blocks
from twotower.distributed.team import Team
from twotower.distributed.variational_block import SolvedGaussians, VariationalBlock
from twotower.towers import TwoTowerModel
from twotower.training.closed_form.gaussians import Gaussians
from twotower.training.closed_form.grouped_pairs import F32, F64, Reliability, centred
from twotower.training.closed_form.variational import Variational
from twotower.training.trainer import TrainingTask


class BlockVariational(Variational):
    """Solves on the workers; what `Variational` learns from features is learned here.

    A round is that of `Variational`, up to the order of sums. Workers keep pairs from round to round and
    nothing else, so a round in which one is lost is done again.

    Args:
        task, config: see `Trainer`.
        blocks: the training pairs on the workers.
    """

    block = VariationalBlock

    def __init__(self, task: TrainingTask, config: Any, blocks: Blocks) -> None:
        self.blocks = blocks
        super().__init__(task, config)

    @classmethod
    def on(cls, team: Team, task: TrainingTask, config: Any) -> BlockVariational:
        """Return the trainer, with the pairs of the task brought to a team of workers."""
        pairs = centred(task.pairs, float(task.model.mean))
        return cls(task, config, Blocks(team, cls.block, pairs, task.items.rows))

    def remade(self, task: TrainingTask, config: Any) -> BlockVariational:
        """Return a trainer on the same blocks; see `Trainer`."""
        return type(self)(task, config, self.blocks)

    def counted(self) -> dict[str, NDArray[np.int64]]:
        """Return the number of pairs of each row; the pairs are on the workers."""
        return self.blocks.counts

    def round(
        self,
        model: TwoTowerModel,
        now: dict[str, F32],
        towards: dict[str, F32],
        reliability: Reliability,
        shapes: list[dict[str, F64 | None]],
    ) -> float:
        """Run a round on the workers; see `Variational`."""
        places = model.layout.outputs
        solved, summed, counted = self.blocks.surviving(
            lambda: self._round(places, now, towards, reliability, shapes)
        )
        for which, of_members in solved.items():
            for member, (own, parts) in enumerate(zip(places, of_members, strict=True)):
                now[which][:, own] = np.concatenate([of.mean for of in parts])
                spread = np.sum([of.spread for of in parts], axis=0) / len(now[which])
                self.spreads[which][member : member + 1] = [spread]
                if which == self.order[1]:
                    self.kept[member] = np.concatenate([of.moments for of in parts if of.moments is not None])
        self.write(model, now, self.newcomers, np.arange(model.users.width))
        self.reliability = Reliability.of(summed, counted)
        return float(summed.sum() / len(self.task.pairs))

    def _round(
        self,
        places: list[NDArray[np.int64]],
        now: dict[str, F32],
        towards: dict[str, F32],
        reliability: Reliability,
        shapes: list[dict[str, F64 | None]],
    ) -> tuple[dict[str, list[list[SolvedGaussians]]], F64, F64]:
        blocks, second = self.blocks, self.order[1]
        team, every = blocks.team, range(blocks.team.size)
        of_users = blocks.rows("users", reliability.of_users.astype(np.float32))
        known = [
            zip(blocks.rows(second, now[second][:, own]), blocks.rows(second, self.kept[member]), strict=True)
            for member, own in enumerate(places)
        ]
        shares = [[Gaussians(*of) for of in of_worker] for of_worker in zip(*known, strict=True)]
        team.get([team.call(worker, "begin", {second: shares[worker]}, of_users[worker]) for worker in every])
        told = [team.call_many(worker, "tell") for worker in every]
        team.get([team.call(worker, "hear", *(of[worker] for of in told)) for worker in every])
        solved: dict[str, list[list[SolvedGaussians]]] = {"users": [], "items": []}
        for member, own in enumerate(places):
            for which, against in (self.order, self.order[::-1]):
                prior = towards[which][:, own]
                alike = not towards[which].strides[0]  # no features: one row for all
                priors = [prior[:1]] * len(every) if alike else blocks.rows(which, prior)
                given = (self.strengths[which], reliability.noise, shapes[member][which], which == second)
                sent = blocks.exchange(against, member)
                calls = [
                    team.call(worker, "solve", which, member, priors[worker], *given, *sent[worker])
                    for worker in every
                ]
                solved[which].append(team.get(calls))
        sent = [team.call_many(worker, "send_means", "items") for worker in every]
        errors = team.get([team.call(worker, "errors", *(of[worker] for of in sent)) for worker in every])
        summed, counted = (np.concatenate(of) for of in zip(*errors, strict=True))
        return solved, summed, counted
