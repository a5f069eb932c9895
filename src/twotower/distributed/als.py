"""`BlockALS`: `LinearALS` on a cluster, with users and items in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.distributed.als_block import AlsBlock, SideNow, SolvedRows
from twotower.distributed.block import SIDES
from twotower.distributed.blocks import Blocks
from twotower.distributed.team import Team
from twotower.objectives.objective import CellWeight
from twotower.training.closed_form.hard_negatives import Pool
from twotower.training.closed_form.linear_als import EASY_EPOCHS, LinearALS
from twotower.training.closed_form.pair_squares import RowTerms
from twotower.training.trainer import TrainingTask

F32 = NDArray[np.float32]


class BlockALS(LinearALS):
    """Solves on the workers; what `LinearALS` learns from features is learned here.

    A round is that of `LinearALS`, up to the order of sums, whatever the number of workers. They keep pairs
    from round to round and nothing else, so a round in which one is lost is done again.

    Args:
        task, config: see `Trainer`.
        blocks: the training pairs on the workers.
    """

    block = AlsBlock

    def __init__(self, task: TrainingTask, config: Any, blocks: Blocks) -> None:
        self.blocks = blocks
        super().__init__(task, config)

    @classmethod
    def on(cls, team: Team, task: TrainingTask, config: Any) -> BlockALS:
        """Return the trainer, with the pairs of the task brought to a team of workers."""
        return cls(task, config, Blocks(team, cls.block, task.pairs, task.items.rows))

    def remade(self, task: TrainingTask, config: Any) -> BlockALS:
        """Return a trainer on the same blocks; see `Trainer`."""
        return type(self)(task, config, self.blocks)

    def problems(self, cell: CellWeight) -> RowTerms:
        """Return the strengths of the rows; their pairs are on the workers."""
        return RowTerms(self.blocks.counts, cell, self.task.penalty)

    def round(self, now: dict[str, F32], places: list[NDArray[np.int64]]) -> float:
        """Run a round on the workers; see `LinearALS`."""
        every = np.concatenate(places)
        towards = {which: self.priors[which].fit(now[which][:, every]).honest for which in SIDES}
        found, loss = self.blocks.surviving(lambda: self._round(now, towards, places))
        now.update(found)
        return loss

    def _round(
        self, now: dict[str, F32], towards: dict[str, F32], places: list[NDArray[np.int64]]
    ) -> tuple[dict[str, F32], float]:
        blocks, terms, pairs = self.blocks, self.squares, self.task.pairs
        team, every = blocks.team, range(blocks.team.size)
        start = np.cumsum([0, *(len(part) for part in places)])
        shares: list[dict[str, SideNow]] = [{} for _ in every]
        for which in SIDES:
            members = [blocks.rows(which, np.ascontiguousarray(now[which][:, part])) for part in places]
            terms_of = [blocks.rows(which, of[which]) for of in (terms.ridge, terms.cells)]
            for worker, share in enumerate(shares):
                vectors = [member[worker] for member in members]
                share[which] = SideNow(vectors, *(of[worker] for of in terms_of))
        team.get([team.call(worker, "begin", share) for worker, share in enumerate(shares)])
        if self.hard_weight and self.number > EASY_EPOCHS:
            seed = [self.task.seed, self.number]
            pool = Pool.of(now["items"][:, np.concatenate(places)], seed)
            blocks.swap(
                "draw", "mix", blocks.bounds["items"], lambda worker: (), pool, seed, self.hard_weight
            )
            blocks.routed()
        found, squares = {which: of.copy() for which, of in now.items()}, np.zeros(len(places))
        cells = np.zeros(len(places))
        for which, against in (("items", "users"), ("users", "items")):
            for member, part in enumerate(places):
                gramian = _summed(blocks.each("gramian", against, member))
                prior = towards[which][:, start[member] : start[member + 1]]
                alike = not prior.strides[0]  # no features: one row for all
                priors = [prior[:1]] * len(every) if alike else blocks.rows(which, prior)
                sent = blocks.exchange(against, member)
                calls = [
                    team.call(worker, "solve", which, member, gramian, priors[worker], *sent[worker])
                    for worker in every
                ]
                solved: list[SolvedRows] = team.get(calls)
                found[which][:, part] = np.concatenate([of.vectors for of in solved])
                if which == "users":
                    squares[member] = sum(of.squares for of in solved)
                    of_users = _summed(blocks.each("gramian", "users", member))
                    cells[member] = (of_users.astype(np.float64) * gramian).sum()
        total = float(len(pairs)) if pairs.weight is None else float(pairs.weight.sum(dtype=np.float64))
        losses = squares / (total or 1.0) + cells / max(len(pairs), 1)
        return found, float(losses.mean())


def _summed(parts: list[F32]) -> F32:
    summed: NDArray[np.float64] = np.sum(parts, axis=0, dtype=np.float64)
    return summed.astype(np.float32)
