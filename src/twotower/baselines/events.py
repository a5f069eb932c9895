"""`Events`: the rows of a training set in the order of time, for baselines that read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from twotower.baselines.baseline import FloatArray, IntArray
from twotower.baselines.feedback import Feedback
from twotower.config.schema import Schema
from twotower.errors import ConfigError

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True, eq=False)
class Events:
    """The m interactions that have a time, by user and then by time; equal times in the order of the table.

    Several rows of one user, item and time are one event.

    Attributes:
        user: (m,) rows of ``feedback.users``, ascending.
        item: (m,) rows of ``feedback.items``.
        grade: (m,) grades of the pairs, as in ``feedback.matrix``; 1 without grades.
        time: (m,) seconds.
    """

    user: IntArray
    item: IntArray
    grade: FloatArray
    time: FloatArray

    @classmethod
    def of(cls, feedback: Feedback, baseline: str) -> Events:
        """Collect the events of the pairs that a baseline is fitted on.

        Raises:
            ConfigError: the schema names no timestamp.
        """
        train = feedback.train
        require_times(train.schema, baseline)
        rows = pl.DataFrame(
            {
                "user": feedback.users.rows(train.interactions.get_column(train.schema.user)),
                "item": feedback.items.rows(train.interactions.get_column(train.schema.item)),
                "time": train.times(),
            }
        )
        known = (pl.col("user") >= 0) & (pl.col("item") >= 0) & pl.col("time").is_finite()
        rows = rows.filter(known).unique(keep="first", maintain_order=True)
        rows = rows.sort("user", "time", maintain_order=True)
        user, item = rows.get_column("user").to_numpy(), rows.get_column("item").to_numpy()
        grade = np.asarray(feedback.matrix[user, item], dtype=np.float64).reshape(len(user))
        kept = grade > 0  # a row of a pair that is in no matrix: its grade is 0
        return cls(user[kept], item[kept], grade[kept], rows.get_column("time").to_numpy()[kept])

    @property
    def age(self) -> IntArray:
        """(m,) how many later events the user has: 0 for the last one."""
        behind = np.searchsorted(self.user, self.user, side="right")
        return np.asarray(behind - 1 - np.arange(len(self.user)), dtype=np.int64)


def has_times(schema: Schema) -> bool:
    """Return whether a schema names a timestamp."""
    return schema.timestamp is not None


def require_times(schema: Schema, baseline: str) -> None:
    """Check that a schema names a timestamp.

    Raises:
        ConfigError: it names none.
    """
    if not has_times(schema):
        raise ConfigError(
            f"{baseline} needs the time of each interaction and the schema names none; set schema.timestamp "
            "to its column, or leave out this baseline"
        )
