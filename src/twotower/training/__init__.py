"""The loop, its batches, optimisers, schedules and checkpoints."""

from twotower.training.alternating import Alternating
from twotower.training.batches import Batch, Batcher, TrainPairs
from twotower.training.checkpoint import Checkpoint
from twotower.training.judge import Judge
from twotower.training.listener import Listener, Record, Silent
from twotower.training.loop import Interrupted, Outcome, Trainer
from twotower.training.pair_squares import PairSquares
from twotower.training.posterior import take_posterior_means
from twotower.training.row_adam import RowAdam
from twotower.training.schedule import Schedule
from twotower.training.solver import Solver
from twotower.training.solving import Solving
from twotower.training.variational import Variational

__all__ = [
    "Alternating",
    "Batch",
    "Batcher",
    "Checkpoint",
    "Interrupted",
    "Judge",
    "Listener",
    "Outcome",
    "PairSquares",
    "Record",
    "RowAdam",
    "Schedule",
    "Silent",
    "Solver",
    "Solving",
    "TrainPairs",
    "Trainer",
    "Variational",
    "take_posterior_means",
]
