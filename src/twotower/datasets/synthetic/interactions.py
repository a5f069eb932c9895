"""big_matrix.csv and small_matrix.csv, a block of users at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import Ints, scatter
from twotower.datasets.synthetic.items import Items, big_days, day_table
from twotower.datasets.synthetic.latent import Latent
from twotower.datasets.synthetic.plan import Plan
from twotower.datasets.synthetic.users import Users

_BLOCK_ROWS = 400_000
_DAY_MS = 86_400_000
_LOCAL_MS = figures.UTC_OFFSET_HOURS * 3_600_000
_FIRST_LOCAL_MS = (figures.FIRST_DAY - date(1970, 1, 1)).days * _DAY_MS
_DATES = np.array([int(day.strftime("%Y%m%d")) for day in figures.calendar()])
# Independent draws would show a video again more often than the real feed does (11% of events).
_REDRAWS = 3
_REDRAW_CHANCE = 0.65
_LATEST_MS = 600_000
"""A row in the partition of another day is within ten minutes of midnight."""


@dataclass(frozen=True)
class _Roles:
    """Number of special events of each user; the others are ordinary."""

    on_copied_day: Ints
    date_disagrees: Ints
    near_copy: Ints
    dealt: Ints
    """Events whose video is assigned, so every unpopular video has a row."""


def big_blocks(
    rng: np.random.Generator, plan: Plan, users: Users, items: Items, latent: Latent
) -> Iterator[tuple[float, pl.DataFrame]]:
    """Yield (share of the file done, rows) in the order of the file: by user, then time."""
    in_small = np.zeros(plan.users, dtype=np.bool_)
    in_small[plan.small_users] = True
    events = np.rint(users.rows * (plan.events / plan.big_rows)).astype(np.int64).clip(1)
    events[int(np.argmax(events))] += plan.events - int(events.sum())
    rare = np.flatnonzero(items.popularity * plan.events / items.popularity.sum() < 25)
    roles = _roles(rng, plan, events, in_small, len(rare))
    ordinary = events - roles.on_copied_day - roles.date_disagrees - roles.near_copy - roles.dealt
    corrupt = int(rng.choice(np.flatnonzero(ordinary > 0)))
    exposure = _Exposure(rng, plan, items, float(events[in_small].sum()) / plan.events)
    rare = rng.permutation(rare)
    dealt_before = np.concatenate([[0], np.cumsum(roles.dealt)])
    for start, end in _user_blocks(events):
        count = events[start:end]
        user = np.repeat(np.arange(start, end), count)  # (n,)
        # position of the event within its user
        place = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
        special = (roles.on_copied_day, roles.date_disagrees, roles.near_copy, roles.dealt)
        edges = np.cumsum([kind[start:end] for kind in special], axis=0)  # (4, users)
        # 0 copied day .. 3 assigned, 4 ordinary
        role = (place >= np.repeat(edges, count, axis=1)).sum(axis=0)
        day = exposure.draw_day(rng, role == 0)
        dealt = np.flatnonzero(role == 3)
        dealt_videos = rare[dealt_before[start] : dealt_before[end]]
        day[dealt] = exposure.draw_day_of(rng, dealt_videos)
        video = exposure.draw_video(rng, day, in_small[user])
        video[dealt] = dealt_videos
        for _ in range(_REDRAWS):
            again = _seen_before(user, video) & (role != 3) & (rng.random(len(user)) < _REDRAW_CHANCE)
            again_at = np.flatnonzero(again)
            video[again_at] = exposure.draw_video(rng, day[again_at], in_small[user[again_at]])
        play, duration = _watch(rng, latent, items, user=user, video=video, curve=figures.PLAY_SECONDS_BIG)
        if start <= corrupt < end:
            last = int(np.cumsum(count)[corrupt - start]) - 1
            play[last], duration[last] = figures.CORRUPT_PLAY_MS, figures.CORRUPT_VIDEO_MS
        stamp = _FIRST_LOCAL_MS + day * _DAY_MS + _time_of_day(rng, len(day)) - _LOCAL_MS
        moved = np.flatnonzero(role == 1)
        stamp[moved] = _across_midnight(rng, day[moved])
        order = np.lexsort((stamp, user))
        order = np.repeat(order, 1 + (role[order] == 0) + (role[order] == 2))
        near = (role[order] == 2) & (np.diff(order, prepend=-1) == 0)
        table = _table(order, user=user, video=video, play=play, duration=duration, stamp=stamp, day=day)
        longer = 1 + (table["play_duration"].to_numpy() * rng.uniform(0.0, 0.3, len(near))).astype(np.int64)
        table = table.with_columns(pl.col("play_duration") + pl.Series(np.where(near, longer, 0)))
        yield end / plan.users, _text(table)


def small_blocks(
    rng: np.random.Generator, plan: Plan, items: Items, latent: Latent
) -> Iterator[tuple[float, pl.DataFrame]]:
    """Yield (share of the file done, rows) by user, then time, a user's rows without time last."""
    n_users, n_videos = len(plan.small_users), len(plan.small_videos)
    observed = np.ones(n_users * n_videos, dtype=np.bool_)
    observed[rng.choice(len(observed), size=len(observed) - plan.small_rows, replace=False)] = False
    untimed = np.zeros(len(observed), dtype=np.bool_)
    untimed[rng.choice(np.flatnonzero(observed), size=plan.small_untimed, replace=False)] = True
    loop_user = int(rng.integers(n_users))
    first, last = items.first_day[plan.small_videos], items.last_day[plan.small_videos]
    step = max(1, _BLOCK_ROWS // n_videos)
    for start in range(0, n_users, step):
        end = min(n_users, start + step)
        cell = start * n_videos + np.flatnonzero(observed[start * n_videos : end * n_videos])
        column = cell % n_videos
        user, video = plan.small_users[cell // n_videos], plan.small_videos[column]
        day = first[column] + (rng.random(len(cell)) * (last - first + 1)[column]).astype(np.int64)
        stamp = _FIRST_LOCAL_MS + day * _DAY_MS + _time_of_day(rng, len(day)) - _LOCAL_MS
        play, duration = _watch(rng, latent, items, user=user, video=video, curve=figures.PLAY_SECONDS_SMALL)
        if start <= loop_user < end:
            rows = np.flatnonzero(user == plan.small_users[loop_user])
            loop = rows[np.argmin(np.abs(duration[rows] - 13_900))]
            play[loop] = round(figures.SMALL_LOOP_RATIO * float(duration[loop]))
        blank = untimed[cell]
        order = np.lexsort((stamp, blank, user))
        table = _table(order, user=user, video=video, play=play, duration=duration, stamp=stamp, day=day)
        timed = pl.Series(~blank[order])
        # Because of gaps in the column, pandas once turned `date` into floats; they are still floats in the
        # file.
        yield (
            end / n_users,
            _text(table).with_columns(
                pl.when(timed).then(pl.col("time")),
                pl.when(timed).then(pl.col("date").cast(pl.Float64)),
                pl.when(timed).then(pl.col("timestamp")),
            ),
        )


class _Exposure:
    """Chooses the day and the video of an event of big."""

    def __init__(self, rng: np.random.Generator, plan: Plan, items: Items, small_user_share: float) -> None:
        self._days = big_days(copied=True)
        weight = np.zeros(figures.N_DAYS)
        weight[self._days] = rng.uniform(0.9, 1.1, len(self._days))
        self._once = np.where(np.isin(np.arange(figures.N_DAYS), figures.COPIED_DAYS), 0.0, weight)
        share = plan.exact_copies / plan.events
        weight[list(figures.COPIED_DAYS)] = share / (1 - share) * self._once.sum() / len(figures.COPIED_DAYS)
        table = day_table(items, weight)[:, self._days]  # (videos, 28)
        self._on_air = items.on_air()
        outside = np.ones(plan.videos, dtype=np.bool_)
        outside[plan.small_videos] = False
        # The users of small see none of its videos in big, so the other users see them more often.
        kept = 1 - small_user_share * table.sum() / table[outside].sum()
        everybody = table * np.where(outside, max(kept, 0.1), 1.0)[:, None]
        # One ascending array contains all tables: table t is in (t, t + 1], so a single search serves all
        # events.
        both = np.concatenate([everybody, table * outside[:, None]], axis=1)  # (videos, 56)
        # In tiny data sets a day may have no video for a user: then any video outside small is used.
        both = np.where(both.sum(axis=0) > 0, both, outside[:, None].astype(np.float64))
        running = np.cumsum(both, axis=0).T
        self._ladder = (running / running[:, -1:] + np.arange(2 * len(self._days))[:, None]).ravel()
        self._videos = plan.videos
        self._table_of_day = np.searchsorted(self._days, np.arange(figures.N_DAYS))

    def draw_day(self, rng: np.random.Generator, on_copied_day: NDArray[np.bool_]) -> Ints:
        running = np.cumsum(self._once)
        day = np.searchsorted(running, rng.random(len(on_copied_day)) * running[-1], side="right")
        copied = np.asarray(figures.COPIED_DAYS)[rng.integers(0, 2, len(on_copied_day))]
        return np.where(on_copied_day, copied, day).astype(np.int64)

    def draw_day_of(self, rng: np.random.Generator, videos: Ints) -> Ints:
        """Draw a day on which each video is shown, from the days written once."""
        chance = rng.random((len(videos), figures.N_DAYS)) * self._on_air[videos] * (self._once > 0)
        return np.asarray(chance.argmax(axis=1), dtype=np.int64)

    def draw_video(self, rng: np.random.Generator, day: Ints, small_user: NDArray[np.bool_]) -> Ints:
        table = self._table_of_day[day] + small_user * len(self._days)
        # 1 - random is in (0, 1], so a video of weight 0 is never drawn.
        found = np.searchsorted(self._ladder, table + (1.0 - rng.random(len(day))), side="left")
        return np.asarray(np.clip(found - table * self._videos, 0, self._videos - 1), dtype=np.int64)


def _roles(
    rng: np.random.Generator, plan: Plan, events: Ints, in_small: NDArray[np.bool_], rare: int
) -> _Roles:
    """Distribute the special events over the users, at most one role per event."""
    copied = scatter(rng, events, plan.exact_copies)
    room = events - copied
    disagrees = scatter(rng, room, plan.date_disagrees)
    room = room - disagrees
    near = scatter(rng, room, plan.near_copies)
    # A rare video may be in small, so only users outside small get one.
    return _Roles(copied, disagrees, near, scatter(rng, np.where(in_small, 0, room - near), rare))


def _seen_before(user: Ints, video: Ints) -> NDArray[np.bool_]:
    """Return which rows repeat the (user, video) pair of an earlier row."""
    order = np.lexsort((video, user))
    repeats = np.zeros(len(user), dtype=np.bool_)
    repeats[order[1:]] = (np.diff(user[order]) == 0) & (np.diff(video[order]) == 0)
    return repeats


def _watch(
    rng: np.random.Generator, latent: Latent, items: Items, *, user: Ints, video: Ints, curve: figures.Curve
) -> tuple[Ints, Ints]:
    """Return play time and duration of each row in milliseconds."""
    taste = np.einsum("nd,nd->n", latent.user_vector[user], latent.item_vector[video])
    z = latent.user_effect[user] + latent.item_effect[video] + taste
    z += latent.noise * rng.standard_normal(len(user))
    knots = ndtri(np.clip(curve[0], 1e-9, 1 - 1e-9))
    seconds = np.exp(np.interp(z, knots, np.log(curve[1])))
    varied = np.where(rng.random(len(video)) < 0.3, items.offset[video], 0)
    duration = items.duration[video] + varied
    play = np.minimum(seconds * 1000.0, figures.LARGEST_RATIO * duration)
    return play.astype(np.int64), duration


def _time_of_day(rng: np.random.Generator, n: int) -> Ints:
    """Return milliseconds since local midnight, few at night and most in the evening."""
    hours = np.interp(rng.random(n), *figures.HOUR_OF_DAY)
    return np.minimum((hours * 3_600_000).astype(np.int64), _DAY_MS - 1)


def _across_midnight(rng: np.random.Generator, day: Ints) -> Ints:
    """Return timestamps just outside the local day of their partition, on a day covered by big."""
    after = np.isin(day + 1, big_days(copied=True))
    late = rng.integers(0, _LATEST_MS, len(day))
    local = np.where(after, (day + 1) * _DAY_MS + late, day * _DAY_MS - 1 - late)
    return np.asarray(_FIRST_LOCAL_MS + local - _LOCAL_MS, dtype=np.int64)


def _user_blocks(events: Ints) -> Iterator[tuple[int, int]]:
    """Yield user ranges of about _BLOCK_ROWS events."""
    block = (np.cumsum(events) - 1) // _BLOCK_ROWS
    bounds = [0, *(np.flatnonzero(np.diff(block)) + 1).tolist(), len(events)]
    yield from pairwise(bounds)


def _table(
    order: Ints, *, user: Ints, video: Ints, play: Ints, duration: Ints, stamp: Ints, day: Ints
) -> pl.DataFrame:
    """Return the rows in ``order``, with `time` still in local milliseconds."""
    return pl.DataFrame(
        {
            "user_id": user[order],
            "video_id": video[order],
            "play_duration": play[order],
            "video_duration": duration[order],
            "time": stamp[order] + _LOCAL_MS,
            "date": _DATES[day[order]],
            "timestamp": stamp[order] / 1000.0,
        }
    )


def _text(table: pl.DataFrame) -> pl.DataFrame:
    """Add the ratio, and format the time as in the real file: without trailing zeros in its milliseconds."""
    clock = (
        pl.from_epoch("time", time_unit="ms").dt.strftime("%Y-%m-%d %H:%M:%S%.3f").str.strip_chars_end("0")
    )
    return table.with_columns(
        time=pl.when(clock.str.ends_with(".")).then(clock + "0").otherwise(clock),
        watch_ratio=pl.col("play_duration") / pl.col("video_duration"),
    )
