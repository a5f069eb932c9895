"""Folds: rows that the towers learn from, and later or other rows whose queries the ranker learns from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.ranker import RankerConfig
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, DataError

Chosen = NDArray[np.bool_]
_FOLDS = 2
"""The random stream of a seed, beside those of `twotower.data.splitting`."""


class Fold(NamedTuple):
    """Two parts of a training set.

    Attributes:
        train: what the towers learn from, and features are made of.
        held: rows that nothing of that has seen; the ranker learns to rank their items.
    """

    train: TrainPart
    held: Dataset


def order_of(settings: RankerConfig, train: Dataset) -> Literal["time", "random"]:
    """Return how examples are held out: as set, or in the order of time where there are times.

    Raises:
        ConfigError: by time, and there are none.
    """
    timed = train.schema.timestamp is not None
    if settings.order == "auto":
        return "time" if timed else "random"
    if settings.order == "time" and not timed:
        raise ConfigError(
            "ranker.order 'time' needs the time of each interaction; set schema.timestamp to its column, or "
            "use 'random'"
        )
    return settings.order


def folds(train: TrainPart, settings: RankerConfig, seed: int) -> Iterator[Fold]:
    """Yield the folds of a training set.

    In the order of time, the latest rows are cut into consecutive blocks; the towers of each learn from
    everything before it, and rows without a time. Else each block has random rows of each user, and the
    towers learn from all the others.

    Raises:
        ConfigError: by time, and there are no times.
        DataError: a part would have no rows.
    """
    rows = train.interactions
    for kept, held in _chosen(train, settings, seed):
        yield Fold(
            train.with_interactions(rows.filter(pl.Series(kept))).as_train(),
            train.with_interactions(rows.filter(pl.Series(held))),
        )


def check_folds(train: TrainPart, settings: RankerConfig, seed: int) -> None:
    """Make sure that a training set can be divided, before any towers are trained; raises as `folds`."""
    for _ in _chosen(train, settings, seed):
        pass


def _chosen(train: TrainPart, settings: RankerConfig, seed: int) -> Iterator[tuple[Chosen, Chosen]]:
    """Yield for each fold which rows the towers learn from, and which are to be ranked."""
    n, share, rows = settings.folds, settings.held_out, train.interactions
    if order_of(settings, train) == "time":
        time = train.times()
        known = np.sort(time[np.isfinite(time)])
        places = [round(len(known) * (1 - share * left)) for left in range(n, 0, -1)]
        starts = [known[min(place, len(known) - 1)] if len(known) else np.nan for place in places]
        for place, start in enumerate(starts):
            end = starts[place + 1] if place + 1 < n else np.inf
            yield _both(~(time >= start), (time >= start) & (time < end))
        return
    rng = np.random.Generator(np.random.PCG64([seed, _FOLDS]))
    user = rows.get_column(train.schema.user).rank("dense").to_numpy()
    order = np.lexsort((rng.random(len(rows)), user))
    count = np.bincount(user)
    within = np.empty(len(rows), np.int64)
    within[order] = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    # where each row stands among its user's, in random order, from 0 to 1; a single row is in no block
    stands = np.where(count[user] > 1, (within + rng.random(len(count))[user]) / count[user], 1.0)
    for fold in range(n):
        held: Chosen = (stands >= fold * share) & (stands < (fold + 1) * share)
        yield _both(~held, held)


def _both(kept: Chosen, held: Chosen) -> tuple[Chosen, Chosen]:
    if not kept.any() or not held.any():
        raise DataError(
            f"every fold of [ranker] needs rows to learn from and rows to rank, got {int(kept.sum()):,} and "
            f"{int(held.sum()):,} of {len(kept):,}; change ranker.held_out or ranker.folds, or use more data"
        )
    return kept, held


def check_unseen(known: Dataset, held: Dataset, *, by_time: bool) -> None:
    """Make sure that features can't have the answer in them.

    Args:
        known: all interactions that features are made of.
        held: those whose items are to be ranked.
        by_time: whether all that is known must be before what is held out.

    Raises:
        DataError: a row of ``held`` is known, or something known is as late as it.
    """
    schema = known.schema
    keys = [schema.user, schema.item, *([schema.timestamp] if schema.timestamp is not None else [])]
    both = held.interactions.select(keys).join(
        known.interactions.select(keys).unique(), on=keys, how="semi", nulls_equal=True
    )
    if len(both):
        raise DataError(
            "features of the ranker must be made without the interactions that it learns to rank, or they "
            f"tell the answer; {len(both):,} of {len(held):,} are known to them, for example {both.row(0)}; "
            "make features of the fold's training set alone"
        )
    if by_time:
        latest, first = known.times(), held.times()
        if np.nanmax(latest, initial=-np.inf) >= np.nanmin(first, initial=np.inf):
            raise DataError(
                "features of the ranker must be made of what was before the interactions that it learns to "
                f"rank; the latest known one is at {np.nanmax(latest):.0f}, the first to rank at "
                f"{np.nanmin(first):.0f}"
            )
