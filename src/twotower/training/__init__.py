"""Training: loop, batches, solvers, optimisers, schedules and checkpoints."""

from twotower.training.batches import Batch, Batcher
from twotower.training.callback import Callback, CallbackList, ListenerCallback, Record
from twotower.training.checkpoint import Checkpoint
from twotower.training.gradients import Gradients, GradientsConfig
from twotower.training.history import history_chart, history_frame
from twotower.training.history_file import HistoryFile, read_history, write_history
from twotower.training.id_als import IdALS
from twotower.training.linear_als import LinearALS
from twotower.training.loop import Interrupted, Loop, Outcome
from twotower.training.pair_squares import PairSquares
from twotower.training.posterior import take_posterior_means
from twotower.training.row_adam import RowAdam
from twotower.training.solver import Solver
from twotower.training.trainer import Trainer, TrainingTask
from twotower.training.variational import Variational

__all__ = [
    "Batch",
    "Batcher",
    "Callback",
    "CallbackList",
    "Checkpoint",
    "Gradients",
    "GradientsConfig",
    "HistoryFile",
    "IdALS",
    "Interrupted",
    "LinearALS",
    "ListenerCallback",
    "Loop",
    "Outcome",
    "PairSquares",
    "Record",
    "RowAdam",
    "Solver",
    "Trainer",
    "TrainingTask",
    "Variational",
    "history_chart",
    "history_frame",
    "read_history",
    "take_posterior_means",
    "write_history",
]
