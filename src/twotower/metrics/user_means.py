"""Metrics that are the mean of one value per user, with intervals over users.

The bootstrap of `twotower.metrics.bootstrap` for means: a resample's metric is ``sum_u w_u v_u / sum_u w_u``
over the users with a value. All metrics, slices and models of one call share the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from twotower.errors import DataError
from twotower.metrics.bootstrap import percentile_interval, user_draws
from twotower.metrics.checks import FloatArray, check_against
from twotower.metrics.interval import Interval

Key = TypeVar("Key", bound=Hashable)


def user_means(values: Mapping[Key, FloatArray]) -> dict[Key, float]:
    """Mean of each metric over the users with a value; nan if there are none.

    Args:
        values: metric -> (n_users,), nan for a user who is not counted.
    """
    return {name: _mean(of) for name, of in values.items()}


def mean_intervals(
    values: Mapping[Key, FloatArray], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[Key, Interval]:
    """Every mean with its percentile interval over users.

    Args:
        values: metric -> (n_users,), nan for a user who is not counted; the same users in all.
        resamples, seed, level: as for `twotower.metrics.intervals`.

    Returns:
        With a single user the bounds are nan; with none the value is nan too.
    """
    (drawn,) = _replicates([values], resamples, seed)
    return {
        name: percentile_interval(_mean(of), drawn[name], _counted(of), level) for name, of in values.items()
    }


def mean_differences(
    models: Mapping[str, Mapping[str, FloatArray]],
    against: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, dict[str, Interval]]:
    """Every other model's mean minus that of ``against``, on the same resampled users.

    Args:
        models: model -> metric -> (n_users,), the same users and metrics in all.
        against: the name to compare with; it is not in the result.

    Returns:
        model -> metric -> `Interval` of the difference.
    """
    check_against(against, models)
    base = models[against]
    for name, metrics in models.items():
        if metrics.keys() != base.keys():
            raise DataError(
                f"models compared must have the same metrics; got {sorted(metrics)} for {name!r} and "
                f"{sorted(base)} for {against!r}. Use the same cut-offs for all models."
            )
    drawn = dict(zip(models, _replicates(list(models.values()), resamples, seed), strict=True))
    return {
        name: {
            metric: percentile_interval(
                _mean(of) - _mean(base[metric]),
                drawn[name][metric] - drawn[against][metric],
                _counted(of),
                level,
            )
            for metric, of in metrics.items()
        }
        for name, metrics in models.items()
        if name != against
    }


@dataclass(frozen=True, eq=False)
class _Columns(Generic[Key]):
    """Metrics as a matrix, to be multiplied with draws of users.

    Attributes:
        names: the metrics.
        values: (n_users, n_metrics), 0 where a user is not counted.
        counted: (n_users, n_masks) 1 where a user is counted; the metrics of a slice share a mask.
        mask: (n_metrics,) column of ``counted`` for each metric.
    """

    names: list[Key]
    values: FloatArray
    counted: FloatArray
    mask: list[int]

    @classmethod
    def of(cls, metrics: Mapping[Key, FloatArray]) -> _Columns[Key]:
        values = np.column_stack(list(metrics.values()))  # (n_users, n_metrics)
        counted = ~np.isnan(values)
        values[~counted] = 0.0
        masks: dict[bytes, int] = {}
        mask = [masks.setdefault(np.packbits(of).tobytes(), len(masks)) for of in counted.T]
        first = [mask.index(number) for number in range(len(masks))]
        return cls(list(metrics), values, counted[:, first].astype(np.float64), mask)

    def means(self, draws: FloatArray) -> FloatArray:
        """Every mean on every resample (resamples, n_metrics), nan if no counted user was drawn."""
        behind = (draws @ self.counted)[:, self.mask]  # (resamples, n_metrics)
        means: FloatArray = np.full(behind.shape, np.nan)
        return np.divide(draws @ self.values, behind, out=means, where=behind > 0)


def _replicates(
    models: Sequence[Mapping[Key, FloatArray]], resamples: int, seed: int
) -> list[dict[Key, FloatArray]]:
    """Every mean of every model on every resample: metric -> (resamples,); models share the draws."""
    lengths = {len(of) for metrics in models for of in metrics.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise DataError(
            "metrics resampled together must have one value for each of the same users (at least one); got "
            f"lengths {sorted(lengths)}. Compute all metrics on the same users."
        )
    tables = [_Columns.of(metrics) for metrics in models]
    blocks: list[list[FloatArray]] = [[] for _ in tables]
    for draws in user_draws(lengths.pop(), resamples, seed):
        for table, done in zip(tables, blocks, strict=True):
            done.append(table.means(draws))
    return [
        dict(zip(table.names, np.concatenate(done).T, strict=True))
        for table, done in zip(tables, blocks, strict=True)
    ]


def _mean(of: FloatArray) -> float:
    counted = of[~np.isnan(of)]
    return float(counted.mean()) if counted.size else math.nan


def _counted(of: FloatArray) -> int:
    return int(np.count_nonzero(~np.isnan(of)))
