"""Training: loop, batches, solvers, optimisers, schedules and checkpoints."""

from twotower.training.batches import Batch, Batcher
from twotower.training.callback import Callback, CallbackList, ListenerCallback, Record
from twotower.training.checkpoint import Checkpoint
from twotower.training.epoch_records import (
    HistoryFile,
    history_chart,
    history_frame,
    read_history,
    write_history,
)
from twotower.training.gradients import Gradients, GradientsConfig
from twotower.training.loop import Interrupted, Loop, Outcome
from twotower.training.row_adam import RowAdam
from twotower.training.trainer import Trainer, TrainingTask

__all__ = [
    "Batch",
    "Batcher",
    "Callback",
    "CallbackList",
    "Checkpoint",
    "Gradients",
    "GradientsConfig",
    "HistoryFile",
    "Interrupted",
    "ListenerCallback",
    "Loop",
    "Outcome",
    "Record",
    "RowAdam",
    "Trainer",
    "TrainingTask",
    "history_chart",
    "history_frame",
    "read_history",
    "write_history",
]
