"""The sizes of all files at a given scale, and the users and videos of the small matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import Ints


@dataclass(frozen=True)
class Plan:
    """Sizes of all files; users and videos scale with the square root, so the density is constant."""

    scale: float
    users: int
    videos: int
    small_users: Ints
    """Ids, ascending."""
    small_videos: Ints
    big_rows: int
    exact_copies: int
    near_copies: int
    date_disagrees: int
    small_rows: int
    small_untimed: int
    daily_rows: int
    social_rows: int

    @property
    def events(self) -> int:
        """Rows of big without duplicates."""
        return self.big_rows - self.exact_copies - self.near_copies

    def of_users(self, count: int) -> int:
        """Scale a number of users of the real file."""
        return round(count * self.users / figures.USERS)

    def of_videos(self, count: int) -> int:
        """Scale a number of videos of the real file."""
        return round(count * self.videos / figures.VIDEOS)


def make_plan(rng: np.random.Generator, scale: float) -> Plan:
    """Return the plan for ``scale``: 1.0 gives the real counts; at least 40 users and 60 videos."""
    side = math.sqrt(scale)
    users = max(40, round(figures.USERS * side))
    videos = max(60, round(figures.VIDEOS * side))
    big_rows = max(round(figures.BIG_ROWS * scale), 8 * users, 8 * videos)
    share = big_rows / figures.BIG_ROWS
    small_users = _subset(rng, users, users / figures.USERS, figures.SMALL_USERS, figures.SMALL_USER_RANGE)
    small_videos = _subset(
        rng, videos, videos / figures.VIDEOS, figures.SMALL_VIDEOS, figures.SMALL_VIDEO_RANGE
    )
    cells = len(small_users) * len(small_videos)
    small_rows = round(cells * figures.SMALL_ROWS / (figures.SMALL_USERS * figures.SMALL_VIDEOS))
    return Plan(
        scale=scale,
        users=users,
        videos=videos,
        small_users=small_users,
        small_videos=small_videos,
        big_rows=big_rows,
        exact_copies=round(figures.EXACT_COPIES * share),
        near_copies=max(1, round(figures.NEAR_COPIES * share)),
        date_disagrees=max(1, round(figures.DATE_DISAGREES * share)),
        small_rows=small_rows,
        small_untimed=round(small_rows * figures.SMALL_UNTIMED / figures.SMALL_ROWS),
        daily_rows=round(figures.DAILY_ROWS * videos / figures.VIDEOS),
        social_rows=max(1, round(figures.SOCIAL_ROWS * users / figures.USERS)),
    )


def _subset(rng: np.random.Generator, n: int, share: float, size: int, bounds: tuple[int, int]) -> Ints:
    """Draw about ``size * share`` ids of 0..n-1, ascending; the first and last are the scaled ``bounds``."""
    first = round(bounds[0] * share)
    last = min(n - 1, round(bounds[1] * share))
    inner = rng.choice(np.arange(first + 1, last), size=round(size * share) - 2, replace=False)
    return np.sort(np.concatenate([[first, last], inner])).astype(np.int64)
