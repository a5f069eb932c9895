"""The videos: tags, categories, authors, durations, the days on which each is shown, and how often."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import (
    Floats,
    Ints,
    deal,
    follow_curve,
    level_effects,
    nest,
    tag_effects,
)
from twotower.datasets.synthetic.plan import Plan

_STEEPER = 1.11


@dataclass(frozen=True)
class Items:
    """The videos of one synthetic data set; row i is video i."""

    tags: list[list[int]]
    levels: tuple[Ints, Ints, Ints]
    """Category codes of level 1, 2, 3, nested; -1 is unknown."""
    author: Ints
    upload_type: Ints
    """Index into figures.UPLOAD_TYPES."""
    popularity: Floats
    """Expected rows in big, without duplicates, at scale 1."""
    duration: Ints
    """In milliseconds."""
    offset: Ints
    """Milliseconds by which the duration of some rows differs; 0 for the two thirds with a constant
    duration."""
    first_day: Ints
    last_day: Ints
    """First and last day number on which the video is shown."""

    def on_air(self) -> NDArray[np.bool_]:
        """Return a (videos, days) mask."""
        days = np.arange(figures.N_DAYS)
        mask: NDArray[np.bool_] = (days >= self.first_day[:, None]) & (days <= self.last_day[:, None])
        return mask


def big_days(*, copied: bool) -> Ints:
    """Return the day numbers that big covers, with or without the partitions written twice."""
    days = np.concatenate([np.arange(first, end) for first, end in figures.BIG_WINDOWS])
    return days if copied else days[~np.isin(days, figures.COPIED_DAYS)]


def make_items(rng: np.random.Generator, plan: Plan) -> Items:
    """Return videos with the real marginals; durations depend on tags and category."""
    n = plan.videos
    tags = _tags(rng, n)
    levels = _levels(rng, plan, tags)
    popularity = follow_curve(rng.standard_normal(n), figures.ROWS_A_VIDEO, log=True)
    length = tag_effects(rng, tags, 1) + level_effects(rng, levels[0], 1) + 2.0 * rng.standard_normal((n, 1))
    seconds = follow_curve(length[:, 0], figures.VIDEO_SECONDS, weight=popularity, log=True)
    # Every user sees every video of small, so there the curve is over videos, not over the rows of big.
    small = plan.small_videos
    seconds[small] = follow_curve(length[small, 0], figures.VIDEO_SECONDS_SMALL, log=True)
    offset = rng.integers(1, 120, n) * rng.choice([-1, 1], n)
    authors = round(figures.AUTHORS * n / figures.VIDEOS)
    spare = rng.zipf(1.6, n - authors) % authors
    first_day, last_day = _lifetimes(rng, n, plan.daily_rows)
    return Items(
        tags=tags,
        levels=levels,
        author=rng.permutation(np.concatenate([np.arange(authors), spare])),
        upload_type=deal(rng, list(figures.UPLOAD_TYPES.values()), n),
        popularity=popularity,
        duration=np.rint(seconds * 1000).astype(np.int64),
        offset=np.where(rng.random(n) < figures.VARYING_DURATION_SHARE, offset, 0),
        first_day=first_day,
        last_day=last_day,
    )


def item_categories(items: Items) -> pl.DataFrame:
    """Return item_categories.csv: the tags as a JSON-like list."""
    return pl.DataFrame({"video_id": np.arange(len(items.tags)), "feat": [str(tags) for tags in items.tags]})


def _tags(rng: np.random.Generator, n: int) -> list[list[int]]:
    """Assign the real tag counts to ``n`` videos with 1 to 4 different tags."""
    sizes = deal(rng, figures.TAGS_A_VIDEO, n) + 1
    pool = deque(deal(rng, figures.TAG_COUNTS, int(sizes.sum())).tolist())
    dealt: list[list[int]] = []
    for size in sizes.tolist():
        tags: list[int] = []
        while len(tags) < size:
            if all(tag in tags for tag in pool):
                pool.append(int(rng.integers(len(figures.TAG_COUNTS))))
            tag = pool.popleft()
            if tag in tags:
                pool.append(tag)
            else:
                tags.append(tag)
        dealt.append(tags)
    return dealt


def _levels(rng: np.random.Generator, plan: Plan, tags: list[list[int]]) -> tuple[Ints, Ints, Ints]:
    """Return three nested category levels; the first is a video's first tag for about two thirds."""
    n = plan.videos
    first = np.array([video_tags[0] for video_tags in tags])
    # Categories 0..30 share their meaning with the tags; 31..37 exist only here.
    moved = np.flatnonzero(rng.random(n) > figures.FIRST_LEVEL_IS_TAG)
    first[moved] = np.where(
        rng.random(len(moved)) < 0.6,
        rng.integers(len(figures.TAG_COUNTS), figures.FIRST_LEVELS, len(moved)),
        rng.integers(0, figures.FIRST_LEVELS, len(moved)),
    )
    # A video without a category on one level has none on the next.
    order = rng.permutation(n)
    known = [order[max(1, plan.of_videos(count)) :] for count in figures.UNKNOWN_LEVELS]
    second, third = np.full(n, -1), np.full(n, -1)
    second[known[1]] = nest(
        rng, first[known[1]], _split(figures.FIRST_LEVELS, figures.SECOND_LEVELS), skew=1.5
    )
    third[known[2]] = nest(
        rng, second[known[2]], _split(figures.SECOND_LEVELS, figures.THIRD_LEVELS), skew=1.5
    )
    first[order[: max(1, plan.of_videos(figures.UNKNOWN_LEVELS[0]))]] = -1
    return first, second, third


def _split(parents: int, children: int) -> Ints:
    """Return the bounds that split ``children`` codes evenly over the parents."""
    return np.linspace(0, children, parents + 1).astype(np.int64)


def _lifetimes(rng: np.random.Generator, n: int, video_days: int) -> tuple[Ints, Ints]:
    """Return the first and last day of each video, ``video_days`` days in total, each shown in big."""
    last_possible = figures.N_DAYS - 1
    born = np.where(rng.random(n) < 0.55, 0, rng.integers(0, figures.N_DAYS, n))
    life = np.rint(figures.N_DAYS * rng.beta(1.4, 0.9, n)).astype(np.int64)
    first, last = born.copy(), np.minimum(born + life, last_possible)
    once = np.zeros(figures.N_DAYS + 1, dtype=np.int64)
    once[big_days(copied=False) + 1] = 1
    once = np.cumsum(once)

    def seen(start: Ints, end: Ints) -> NDArray[np.bool_]:
        touches: NDArray[np.bool_] = once[end + 1] > once[start]
        return touches

    while not seen(first, last).all():
        last = np.where(seen(first, last), last, np.minimum(last + 1, last_possible))
        first = np.where(seen(first, last) | (last < last_possible), first, first - 1)
    while (missing := video_days - int((last - first + 1).sum())) != 0:
        if missing > 0:
            able = np.flatnonzero(last < last_possible)
            chosen = rng.permutation(able)[:missing]
            last[chosen] += 1
            if len(able) == 0:
                first[np.flatnonzero(first > 0)[:missing]] -= 1
        else:
            able = np.flatnonzero((last > first) & seen(first, np.maximum(last - 1, first)))
            last[rng.permutation(able)[:-missing]] -= 1
    return first, last


def day_table(items: Items, day_weight: Floats) -> Floats:
    """Return a (videos, days) table of exposure, 0 where a video is not shown.

    Rows sum to a power of the popularity and columns are proportional to ``day_weight``, by iterative
    proportional fitting.
    """
    # Repeated pairs of user and video are partly redrawn, which makes popular videos less frequent.
    popularity = items.popularity**_STEEPER
    table = items.on_air() * (day_weight > 0)[None, :] * popularity[:, None]
    goal = day_weight / day_weight.sum() * popularity.sum()
    for _ in range(30):
        columns = table.sum(axis=0)
        table = table * np.where(columns > 0, goal / np.where(columns > 0, columns, 1.0), 0.0)
        table = table * (popularity / table.sum(axis=1))[:, None]
    return np.asarray(table, dtype=np.float64)
