"""`OwnMetrics`: ranking metrics that a user defines, as functions of recommended and relevant items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.errors import ConfigError, DataError
from twotower.metrics import RATING_METRICS
from twotower.metrics.ranking_lists import TopRows

Own = Callable[[list[list[Any]], list[list[Any]]], Sequence[float]]
"""From each user's recommended item ids, best first, and relevant item ids, to one value per user."""


class OwnMetrics:
    """A user's own metrics, by name.

    Attributes:
        functions: name -> function.
        directions: name -> the function's attribute ``higher_is_better``; None without one.

    Raises:
        ConfigError: an invalid name or function.
    """

    def __init__(self, functions: Mapping[str, Own] | None = None) -> None:
        self.functions = dict(functions or {})
        self.directions: dict[str, bool | None] = {}
        for name, function in self.functions.items():
            if not isinstance(name, str) or not name or name in RATING_METRICS:
                raise ConfigError(
                    f"a metric of your own needs a name of its own, got {name!r}; choose another"
                )
            if not callable(function):
                raise ConfigError(
                    f"metric {name!r} must be a function of (recommended, relevant), got {function!r}"
                )
            direction = getattr(function, "higher_is_better", None)
            if not (direction is None or isinstance(direction, bool)):
                raise ConfigError(f"higher_is_better of metric {name!r} is True or False, got {direction!r}")
            self.directions[name] = direction

    def values(
        self, lists: TopRows, relevant: Lists, items: pl.Series, taken: Mapping[str, Any]
    ) -> dict[str, NDArray[np.float64]]:
        """Call every function for some users.

        Args:
            lists: item rows (n_users, k), padded with -1.
            relevant: item rows of each user.
            items: ids by row.
            taken: names of the built-in metrics.

        Returns:
            metric -> (n_users,), nan for a user who is not counted.

        Raises:
            ConfigError: a name is that of a built-in metric.
            DataError: a function did not return one number or nan per user.
        """
        if not self.functions:
            return {}
        ids = items.to_list()
        recommended = [[ids[row] for row in rows if row >= 0] for rows in lists.tolist()]
        wanted = [[ids[row] for row in relevant[user].tolist()] for user in range(len(relevant))]
        found = {}
        for name, function in self.functions.items():
            if name in taken:
                raise ConfigError(f"{name!r} is the name of a built-in metric; choose another for your own")
            try:
                # copies, so that a function can't change the lists of the next
                given = function([[*one] for one in recommended], [[*one] for one in wanted])
            except Exception as error:
                error.add_note(f"Raised by the metric {name!r}.")
                raise
            found[name] = _checked(name, given, len(recommended))
        return found

    def notes(self, values: Mapping[str, NDArray[np.float64]]) -> list[str]:
        """Return notes on users without a value."""
        notes = []
        for name in self.functions:
            missing = int(np.isnan(values[name]).sum())
            if missing:
                notes.append(
                    f"metric {name!r} has no value (nan) for {missing:,} of {len(values[name]):,} users, who "
                    "are left out of it"
                )
        return notes


def _checked(name: str, given: Any, n_users: int) -> NDArray[np.float64]:
    try:
        values = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.empty((0, 0))
    if values.shape != (n_users,) or np.isinf(values).any():
        got = f"shape {np.shape(given)}" if values.shape != (n_users,) else "an infinite value"
        if np.ndim(given) == 0:
            got = repr(given)[:80]
        raise DataError(
            f"metric {name!r} must return one finite number for each of the {n_users:,} users, "
            f"or nan for a user who is not counted; got {got}"
        )
    return values
