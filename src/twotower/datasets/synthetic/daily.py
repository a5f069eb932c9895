"""item_daily_features.csv: one row per video and day on which it is shown, with static features and daily
counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import Floats, Ints, deal_by_rank, follow_curve, standardise
from twotower.datasets.synthetic.items import Items
from twotower.datasets.synthetic.latent import Latent
from twotower.datasets.synthetic.plan import Plan

# Counts that are a share of another count: name, base, share of the base, whether there is a `*_user_num`.
_SHARES = (
    ("cancel_like", "like_cnt", 0.05, True),
    ("comment", "like_cnt", 0.09, True),
    ("follow", "like_cnt", 0.07, True),
    ("cancel_follow", "follow_cnt", 0.04, True),
    ("share", "like_cnt", 0.03, True),
    ("download", "like_cnt", 0.06, True),
    ("report", "play_cnt", 0.00005, True),
    ("reduce_similar", "play_cnt", 0.0005, True),
    ("collect", "like_cnt", 0.05, True),
    ("cancel_collect", "collect_cnt", 0.08, True),
    ("delete_comment", "comment_cnt", 0.04, True),
    ("comment_like", "comment_cnt", 0.9, True),
    ("direct_comment", "comment_cnt", 0.7, False),
    ("click_like", "like_cnt", 0.6, False),
)
_COLLECT = ("collect_cnt", "collect_user_num", "cancel_collect_cnt", "cancel_collect_user_num")
# fmt: off
DAILY_COLUMNS: Final = (
    "video_id", "date", "author_id", "video_type", "upload_dt", "upload_type", "visible_status",
    "video_duration", "video_width", "video_height", "music_id", "video_tag_id", "video_tag_name",
    "show_cnt", "show_user_num", "play_cnt", "play_user_num", "play_duration", "complete_play_cnt",
    "complete_play_user_num", "valid_play_cnt", "valid_play_user_num", "long_time_play_cnt",
    "long_time_play_user_num", "short_time_play_cnt", "short_time_play_user_num", "play_progress",
    "comment_stay_duration", "like_cnt", "like_user_num", "click_like_cnt", "double_click_cnt",
    "cancel_like_cnt", "cancel_like_user_num", "comment_cnt", "comment_user_num", "direct_comment_cnt",
    "reply_comment_cnt", "delete_comment_cnt", "delete_comment_user_num", "comment_like_cnt",
    "comment_like_user_num", "follow_cnt", "follow_user_num", "cancel_follow_cnt",
    "cancel_follow_user_num", "share_cnt", "share_user_num", "download_cnt", "download_user_num",
    "report_cnt", "report_user_num", "reduce_similar_cnt", "reduce_similar_user_num", "collect_cnt",
    "collect_user_num", "cancel_collect_cnt", "cancel_collect_user_num",
)
# fmt: on
"""The 58 columns in the order of the real file."""


def daily_features(rng: np.random.Generator, plan: Plan, items: Items, latent: Latent) -> pl.DataFrame:
    """Return rows by video, then date; popular videos have larger counts, liked ones more progress."""
    video, day = np.nonzero(items.on_air())
    described = _descriptions(rng, plan, items)
    counts = _counts(rng, items, latent, video, day)
    dates = np.array([int(date.strftime("%Y%m%d")) for date in figures.calendar()])
    table = pl.DataFrame({"video_id": video, "date": dates[day]}).join(
        described, on="video_id", how="left", maintain_order="left"
    )
    table = table.with_columns(**{name: pl.Series(values) for name, values in counts.items()})
    # The app counted collections only from a certain day on; before it the columns are empty.
    early = np.zeros(len(day), dtype=np.bool_)
    empty = round(figures.DAILY_EMPTY_COLLECT * len(day) / figures.DAILY_ROWS)
    early[np.argsort(day, kind="stable")[:empty]] = True
    table = table.with_columns(pl.when(pl.Series(~early)).then(pl.col(*_COLLECT)))
    return table.select(DAILY_COLUMNS)


def _descriptions(rng: np.random.Generator, plan: Plan, items: Items) -> pl.DataFrame:
    """Return the static features, one row per video."""
    n = plan.videos
    days = items.last_day - items.first_day + 1
    has_duration = _filled(
        rng, days, round(figures.DAILY_EMPTY_DURATION * plan.daily_rows / figures.DAILY_ROWS)
    )
    has_tag = _filled(rng, days, round(figures.DAILY_EMPTY_TAG_NAME * plan.daily_rows / figures.DAILY_ROWS))
    age = np.where(items.first_day > 0, rng.integers(0, 3, n), np.rint(rng.exponential(60.0, n)))
    uploaded = [
        (figures.FIRST_DAY + timedelta(days=int(first - old))).isoformat()
        for first, old in zip(items.first_day, age, strict=True)
    ]
    advert = np.zeros(n, dtype=np.bool_)
    advert[rng.permutation(n)[: max(1, plan.of_videos(figures.AD_VIDEOS))]] = True
    visible = deal_by_rank(rng.random(n), (0.97, 0.014, 0.012, 0.004))
    wide = rng.random(n) < 0.14
    song = rng.integers(1_000_000, 4_000_000_000, max(1, n * 2 // 3))
    tag = np.abs(items.levels[1]) * 9 + items.levels[0] % 9  # finer than the tags, as the real ids are
    return pl.DataFrame(
        {
            "video_id": np.arange(n),
            "author_id": items.author,
            "video_type": np.where(advert, "AD", "NORMAL").tolist(),
            "upload_dt": uploaded,
            "upload_type": np.array(list(figures.UPLOAD_TYPES), dtype=object)[items.upload_type].tolist(),
            "visible_status": np.array(["public", "private", "only friends", "delete"])[visible].tolist(),
            "video_duration": items.duration.astype(np.float64),
            "video_width": np.where(wide, 1280, np.where(rng.random(n) < 0.2, 576, 720)),
            "video_height": np.where(wide, 720, 1280),
            "music_id": song[np.minimum(rng.zipf(1.7, n), len(song)) - 1] + np.arange(n) % 2 * 2**33,
            "video_tag_id": np.where(has_tag, tag, -124),
            "video_tag_name": [f"标签{code}" for code in tag.tolist()],
        }
    ).with_columns(
        pl.when(pl.Series(has_duration)).then(pl.col("video_duration")),
        pl.when(pl.Series(has_tag)).then(pl.col("video_tag_name")),
    )


def _filled(
    rng: np.random.Generator, days: Ints, empty_rows: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return False for random videos with about ``empty_rows`` days in total."""
    order = rng.permutation(len(days))
    filled = np.ones(len(days), dtype=np.bool_)
    filled[order[np.cumsum(days[order]) <= max(empty_rows, int(days[order[0]]))]] = False
    return filled


def _counts(
    rng: np.random.Generator, items: Items, latent: Latent, video: Ints, day: Ints
) -> dict[str, Ints | Floats]:
    """Return the daily counts: shows and plays by the video's popularity and age, all others from those."""
    n = len(video)
    age = day - items.first_day[video]
    reach = standardise(np.log(items.popularity))[video] - 0.03 * age + 0.5 * rng.standard_normal(n)
    liked = latent.item_effect[video] / np.sqrt(figures.ITEM_SHARE)
    show = _whole(follow_curve(reach, figures.SHOW_COUNT))
    play = np.minimum(
        _whole(follow_curve(reach + 0.1 * rng.standard_normal(n), figures.PLAY_COUNT)), show * 2
    )
    like = np.minimum(
        _whole(follow_curve(reach + 0.15 * liked + 0.3 * rng.standard_normal(n), figures.LIKE_COUNT)), play
    )
    length = standardise(np.log(items.duration.astype(np.float64)))[video]
    finished = liked - 1.2 * length + 0.8 * rng.standard_normal(n)
    progress = follow_curve(np.where(play > 0, finished, -np.inf), figures.PLAY_PROGRESS)
    counts: dict[str, Ints | Floats] = {"show_cnt": show, "play_cnt": play, "like_cnt": like}
    for name, base, share, _ in _SHARES:
        counts[f"{name}_cnt"] = rng.binomial(counts[base].astype(np.int64), share)
    complete = rng.binomial(play, np.clip(progress, 0.0, 1.0) * 0.9)
    counts["complete_play_cnt"] = complete
    counts["valid_play_cnt"] = np.minimum(complete + rng.binomial(play, 0.35), play)
    counts["long_time_play_cnt"] = rng.binomial(play, 0.15 + 0.2 * progress)
    counts["short_time_play_cnt"] = rng.binomial(play, 0.35 - 0.25 * progress)
    counts["play_duration"] = _whole(play * progress * items.duration[video])
    counts["play_progress"] = progress
    counts["comment_stay_duration"] = _whole(play * rng.gamma(1.5, 600.0, n))
    counts["double_click_cnt"] = like - counts["click_like_cnt"]
    counts["reply_comment_cnt"] = counts["comment_cnt"] - counts["direct_comment_cnt"]
    people = ["show", "play", "complete_play", "valid_play", "long_time_play", "short_time_play", "like"]
    for name in [*people, *(name for name, _, _, counted in _SHARES if counted)]:
        count = counts[f"{name}_cnt"]
        counts[f"{name}_user_num"] = _whole(np.ceil(count * rng.uniform(0.75, 1.0, n)))
    return counts


def _whole(values: Floats) -> Ints:
    return np.rint(values).astype(np.int64)
