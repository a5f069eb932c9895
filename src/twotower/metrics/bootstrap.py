"""Bootstrap over users: resample users with replacement and keep each user's rows together.

A user's rows are correlated, so resampling rows would give intervals that are too narrow; users are the
sampling unit (the cluster bootstrap: Davison & Hinkley, *Bootstrap Methods and their Application*, 1997,
3.8). Rows are never copied: a resample is a vector of counts per user, multiplied with `UserStatistics`. The
same counts are used for every model and slice, which makes comparisons paired. Intervals are percentile
intervals (Efron & Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from twotower.errors import ConfigError, DataError
from twotower.metrics.checks import FloatArray, check_against
from twotower.metrics.interval import Interval
from twotower.metrics.statistics import UserStatistics

_BLOCK = 64  # resamples per multiplication: 64 x 7,176 users x 8 bytes is 3.7 MB, which fits in the cache


def user_draws(n_users: int, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each user is drawn, in blocks (at most 64, n_users) whose rows are multinomial.

    The draws depend only on the three arguments, not on the size of the blocks.
    """
    if resamples < 1:
        raise ConfigError(f"resamples must be at least 1; got {resamples}. 1000 is a good choice.")
    if seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0; got {seed}.")
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _BLOCK):
        block = np.empty((min(_BLOCK, resamples - start), n_users))
        for row in block:
            # Same distribution as generator.multinomial, whose n_users binomials per row take ten times as
            # long.
            row[:] = np.bincount(generator.integers(n_users, size=n_users), minlength=n_users)
        yield block


def replicates(
    statistics: Sequence[UserStatistics], *, resamples: int, seed: int
) -> list[dict[str, FloatArray]]:
    """Compute every metric on every resample: one ``name -> (resamples,)`` for each of ``statistics``.

    All of them must have the same users; they get the same draws.
    """
    first = statistics[0]
    for other in statistics[1:]:
        if not np.array_equal(first.ids, other.ids):
            raise DataError(
                f"Statistics resampled together must have the same users; got {first.n_users} and "
                f"{other.n_users} users, not the same ids. Build them from one group_users(user)."
            )
    blocks: list[list[dict[str, FloatArray]]] = [[] for _ in statistics]
    for draws in user_draws(first.n_users, resamples, seed):
        for one, done in zip(statistics, blocks, strict=True):
            done.append(one.metrics(draws))
    return [{name: np.concatenate([block[name] for block in done]) for name in done[0]} for done in blocks]


def intervals(
    statistics: UserStatistics, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Every metric with its percentile interval.

    A resample in which a metric is undefined (all drawn users have the same constant label) is left out of
    its interval. With a single user there is nothing to resample: (nan, nan).
    """
    return intervals_of_all([statistics], resamples=resamples, seed=seed, level=level)[0]


def intervals_of_all(
    statistics: Sequence[UserStatistics], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> list[dict[str, Interval]]:
    """`intervals` of each of ``statistics``, such as slices of a table, with shared draws."""
    drawn = replicates(statistics, resamples=resamples, seed=seed)
    return [
        {
            name: percentile_interval(value, of[name], one.users_behind(name), level)
            for name, value in one.values().items()
        }
        for one, of in zip(statistics, drawn, strict=True)
    ]


def paired_differences(
    models: Mapping[str, UserStatistics],
    against: str,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, dict[str, Interval]]:
    """Every other model minus ``against``, on the same resampled users: model -> metric -> `Interval`.

    Args:
        models: name -> statistics, all over the same rows and with the same cap.
        against: the name to compare with; it is not in the result.
    """
    check_against(against, models)
    base = models[against]
    for name, model in models.items():
        _same_rows(against, base, name, model)
    drawn = dict(zip(models, replicates(list(models.values()), resamples=resamples, seed=seed), strict=True))
    base_values = base.values()
    return {
        name: {
            metric: percentile_interval(
                value - base_values[metric],
                drawn[name][metric] - drawn[against][metric],
                model.users_behind(metric),
                level,
            )
            for metric, value in model.values().items()
        }
        for name, model in models.items()
        if name != against
    }


def percentile_interval(value: float, drawn: FloatArray, users: int, level: float) -> Interval:
    """Return ``value`` with the percentile interval of its replicates (resamples,); none below two users."""
    if not 0.0 < level < 1.0:
        raise ConfigError(f"level must lie between 0 and 1; got {level}. 0.95 gives a 95% interval.")
    defined = drawn[~np.isnan(drawn)]
    if users < 2 or defined.size == 0:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(defined, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(value, float(low), float(high))


def _same_rows(name_a: str, a: UserStatistics, name_b: str, b: UserStatistics) -> None:
    if a.cap != b.cap:
        raise ConfigError(
            f"Models compared must have the same cap; got {a.cap} for {name_a!r} and {b.cap} for {name_b!r}. "
            "Build both statistics with one cap."
        )
    # The labels' sums are computed in the same way from the same rows, so equal rows give equal bits.
    for column in ("rows", "label", "label_squared", "comparable"):
        if not np.array_equal(a.sums[column], b.sums[column]):
            raise DataError(
                f"Models compared must be measured on the same rows; got {a.sums['rows'].sum():.0f} rows for "
                f"{name_a!r}, {b.sums['rows'].sum():.0f} for {name_b!r}, and other {column!r} sums by user. "
                "Predict the same test set with both, in the same order."
            )
