"""The users: user_features.csv, and the activity of each user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import Floats, Ints, deal, deal_by_rank, follow_curve, nest, share_out
from twotower.datasets.synthetic.plan import Plan

_FOLLOW_RANGES = ("0", "(0,10]", "(10,50]", "(50,100]", "(100,150]", "(150,250]", "(250,500]", "500+")
_FANS_RANGES = ("0", "[1,10)", "[10,100)", "[100,1k)", "[1k,5k)", "[5k,1w)", "[1w,10w)")
_FRIEND_RANGES = ("0", "[1,5)", "[5,30)", "[30,60)", "[60,120)", "[120,250)", "250+")
_REGISTER_RANGES = ("15-30", "31-60", "61-90", "91-180", "181-365", "366-730", "730+")


@dataclass(frozen=True)
class Users:
    """The users of one synthetic data set; row i is user i."""

    table: pl.DataFrame
    """user_features.csv."""
    rows: Ints
    """Rows of each user in big, including duplicates."""


def make_users(rng: np.random.Generator, plan: Plan) -> Users:
    """Return users with the real marginals; active users have more rows, followed ones more fans."""
    n = plan.users
    activity = rng.standard_normal(n)
    social = 0.4 * activity + rng.standard_normal(n)
    follow = _whole(follow_curve(social, figures.FOLLOW))
    fans = _whole(follow_curve(social + 1.6 * rng.standard_normal(n), figures.FANS))
    friends = _whole(follow_curve(social + 1.3 * rng.standard_normal(n), figures.FRIENDS))
    registered = _whole(follow_curve(rng.standard_normal(n), figures.REGISTER_DAYS))
    degree = deal_by_rank(activity + 0.8 * rng.standard_normal(n), list(figures.ACTIVE_DEGREE.values()))
    columns: dict[str, pl.Series] = {
        "user_id": pl.Series(np.arange(n)),
        "user_active_degree": _names(degree, list(figures.ACTIVE_DEGREE)),
        "is_lowactive_period": _flags(-activity, plan.of_users(figures.LOWACTIVE)),
        "is_live_streamer": _flags(fans + rng.random(n), plan.of_users(figures.LIVE_STREAMERS)),
        "is_video_author": _flags(social + rng.standard_normal(n), plan.of_users(figures.VIDEO_AUTHORS)),
        "follow_user_num": pl.Series(follow),
        "follow_user_num_range": _range(_older(rng, follow), (1, 11, 51, 101, 151, 251, 501), _FOLLOW_RANGES),
        "fans_user_num": pl.Series(fans),
        "fans_user_num_range": _range(_older(rng, fans), (1, 10, 100, 1_000, 5_000, 10_000), _FANS_RANGES),
        "friend_user_num": pl.Series(friends),
        "friend_user_num_range": _range(_older(rng, friends), (1, 5, 30, 60, 120, 250), _FRIEND_RANGES),
        "register_days": pl.Series(registered),
        # The range is from an earlier day than the number, as in the real file (107 days next to 61-90).
        "register_days_range": _range(
            registered - (rng.random(n) * np.minimum(28, registered * 0.25)).astype(np.int64),
            (31, 61, 91, 181, 366, 730),
            _REGISTER_RANGES,
        ),
    }
    columns.update(_onehot(rng, plan))
    rows = share_out(follow_curve(activity, figures.ROWS_A_USER), plan.big_rows)
    return Users(table=pl.DataFrame(columns), rows=rows)


def _onehot(rng: np.random.Generator, plan: Plan) -> dict[str, pl.Series]:
    """Return the 18 encrypted categories: codes, some of them empty, with feat3 nested in feat2 as in the
    real file."""
    n = plan.users
    coarse = deal(rng, _long_tail(figures.ONEHOT_SIZES[2], 1.0, rng), n)
    fine_size, coarse_size = figures.ONEHOT_SIZES[3], figures.ONEHOT_SIZES[2]
    bounds = np.linspace(0, fine_size, coarse_size + 1).astype(np.int64)
    fine = nest(rng, coarse, bounds, skew=1.5)
    order = rng.permutation(n)
    columns: dict[str, pl.Series] = {}
    for feature, size in enumerate(figures.ONEHOT_SIZES):
        if feature == 2:
            codes = coarse
        elif feature == 3:
            codes = fine
        else:
            codes = deal(rng, figures.ONEHOT_COUNTS.get(feature, _long_tail(size, 0.7, rng)), n)
        filled = np.ones(n, dtype=np.bool_)
        empty = plan.of_users(figures.ONEHOT_EMPTY.get(feature, 0))
        # feat12..17 are empty for the same users; feat4 is empty for others.
        filled[order[-empty:] if feature == 4 else order[:empty]] = empty == 0
        columns[f"onehot_feat{feature}"] = pl.select(
            pl.when(pl.Series(filled)).then(pl.Series(codes)).alias("codes")
        ).to_series()
    return columns


def _long_tail(size: int, power: float, rng: np.random.Generator) -> Floats:
    weights: Floats = rng.permutation(1.0 / np.arange(1, size + 1) ** power)
    return weights


def _whole(values: Floats) -> Ints:
    return np.rint(values).astype(np.int64)


def _older(rng: np.random.Generator, counts: Ints) -> Ints:
    """Return the counts of some days earlier: in the real file a few users' ranges lag behind their
    numbers."""
    moved = np.where(rng.random(len(counts)) < 0.1, np.exp(0.1 * rng.standard_normal(len(counts))), 1.0)
    return np.rint(counts * moved).astype(np.int64)


def _range(values: Ints, bounds: Sequence[int], names: Sequence[str]) -> pl.Series:
    return _names(np.searchsorted(np.asarray(bounds), values, side="right"), names)


def _names(codes: Ints, names: Sequence[str]) -> pl.Series:
    return pl.Series(np.asarray(names, dtype=object)[codes], dtype=pl.String)


def _flags(score: Floats, count: int) -> pl.Series:
    """Return 1 for the ``count`` highest scores, 0 elsewhere."""
    flags = np.zeros(len(score), dtype=np.int64)
    flags[np.argsort(-score, kind="stable")[:count]] = 1
    return pl.Series(flags)
