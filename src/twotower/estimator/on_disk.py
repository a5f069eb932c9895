"""Which kinds of towers learn from interactions on disk, and what is done with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twotower.config import ModelConfig
from twotower.core.warn import warn
from twotower.core.wording import count_of
from twotower.data.dataset import TrainPart
from twotower.data.store import StoredTrain
from twotower.errors import ConfigError
from twotower.towers.registry import TOWERS

IN_MEMORY: Final = 250
"""Bytes of memory that an interaction takes where it is not on disk."""


def streams(kind: str) -> bool:
    """Return whether towers of a kind learn from interactions that are on disk."""
    towers = TOWERS.get(kind)
    return not (towers.reads_history or towers.reads_statistics)


def readable(model: ModelConfig, train: TrainPart) -> TrainPart:
    """Return the training set as towers read it: in memory if they can't from disk, which a warning says."""
    if not isinstance(train, StoredTrain) or TOWERS.get(model.kind).composed or streams(model.kind):
        return train
    warn(
        f"towers of kind {model.kind!r} read all {count_of(len(train), 'interaction')} of the store into "
        "memory; those of kind 'linear' and 'mlp' read them from disk"
    )
    return train.in_memory()


def candidates_on_disk(names: Sequence[str], n: int) -> tuple[list[str], str]:
    """Return the candidates of "auto" that learn from n interactions on disk, and what is said of the others.

    Raises:
        ConfigError: none does.
    """
    others = [name for name in names if not streams(name)]
    why = f"{', '.join(others)}: all {n:,} interactions in memory take about {n * IN_MEMORY / 1e9:,.1f} GB"
    if len(others) == len(names):
        raise ConfigError(
            f"model.candidates has no kind that learns from interactions on disk ({why}); add 'linear', or "
            "set data.store = 'never'"
        )
    said = f"left out {why}; to try them, set data.store = 'never'" if others else ""
    return [name for name in names if name not in others], said
