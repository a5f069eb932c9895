"""Write the seven files of a synthetic KuaiRec into a directory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from twotower.datasets.synthetic.captions import caption_category
from twotower.datasets.synthetic.daily import daily_features
from twotower.datasets.synthetic.interactions import big_blocks, small_blocks
from twotower.datasets.synthetic.items import item_categories, make_items
from twotower.datasets.synthetic.latent import make_latent
from twotower.datasets.synthetic.plan import make_plan
from twotower.datasets.synthetic.social import social_network
from twotower.datasets.synthetic.users import make_users
from twotower.errors import ConfigError

FILES = (
    "big_matrix.csv",
    "small_matrix.csv",
    "user_features.csv",
    "item_daily_features.csv",
    "item_categories.csv",
    "social_network.csv",
    "kuairec_caption_category.csv",
)
_LARGEST_SCALE = 10.0
_PARTIAL = ".partial"


def write_kuairec(
    directory: Path,
    *,
    scale: float = 1.0,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> dict[str, int]:
    """Write a synthetic KuaiRec 2.0 and return the number of rows of each file.

    Schema, column order, quirks (duplicate rows, rows without a time, an impossible duration, bare carriage
    returns, empty cells) and statistics are those of the real files; ids, texts and preferences are
    generated. Play times depend on the user (10% of the rank's variance within a duration bucket), the video
    (8.5%) and their pair (6%), half of each through the features, half through the ids.

    Args:
        directory: The output directory; created if missing. Files of an earlier call are replaced.
        scale: 1.0 gives the real sizes (7,176 users, 10,728 videos, 12,530,806 and 4,676,570 rows, 1.5 GB).
            Rows scale linearly, users and videos with the square root, so the density is constant; there are
            always at least 40 users and 60 videos. At most 10.
        seed: Same seed, same scale and same library versions give the same bytes.
        progress: Called as ``progress(file_name, fraction)``, the fraction of that file from 0 to 1.

    Raises:
        ConfigError: An argument is out of range, or the directory holds something else.
    """
    _check(directory, scale, seed)
    directory.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda stage, fraction: None)
    # One random stream per file: a change in one does not affect the others.
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(9)]
    plan = make_plan(streams[0], scale)
    users = make_users(streams[1], plan)
    items = make_items(streams[2], plan)
    latent = make_latent(streams[3], users, items)
    parts: dict[str, Callable[[], Iterable[tuple[float, pl.DataFrame]]]] = {
        "user_features.csv": lambda: [(1.0, users.table)],
        "item_categories.csv": lambda: [(1.0, item_categories(items))],
        "social_network.csv": lambda: [(1.0, social_network(streams[4], plan))],
        "kuairec_caption_category.csv": lambda: [(1.0, caption_category(streams[5], plan, items))],
        "item_daily_features.csv": lambda: [(1.0, daily_features(streams[6], plan, items, latent))],
        "small_matrix.csv": lambda: small_blocks(streams[7], plan, items, latent),
        "big_matrix.csv": lambda: big_blocks(streams[8], plan, users, items, latent),
    }
    rows: dict[str, int] = {}
    for name, blocks in parts.items():
        tell(name, 0.0)
        rows[name] = _write(directory / name, blocks(), partial(tell, name))
    return {name: rows[name] for name in FILES}


def _write(path: Path, blocks: Iterable[tuple[float, pl.DataFrame]], tell: Callable[[float], None]) -> int:
    """Write blocks of one table to a temporary name, then rename it: a crash leaves no partial file."""
    unfinished = path.with_name(path.name + _PARTIAL)
    rows = 0
    try:
        with unfinished.open("wb") as file:
            for fraction, block in blocks:
                block.write_csv(file, include_header=rows == 0)
                rows += block.height
                tell(fraction)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def _check(directory: Path, scale: float, seed: int) -> None:
    if not 0 < scale <= _LARGEST_SCALE:  # also false for nan
        raise ConfigError(
            f"scale must be above 0 and at most {_LARGEST_SCALE:g}, got {scale!r}. "
            "Use 1.0 for the size of the real data set, 0.01 for a quick try."
        )
    if seed < 0:
        raise ConfigError(f"seed must be 0 or larger, got {seed!r}. Use any non-negative integer.")
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"directory must be a directory, got the file {directory}. Choose another path.")
    ours = {*FILES, *(name + _PARTIAL for name in FILES)}
    others = (
        sorted(path.name for path in directory.iterdir() if path.name not in ours)
        if directory.exists()
        else []
    )
    if others:
        raise ConfigError(
            f"directory must be empty or contain only the files of a synthetic KuaiRec, got {directory} "
            f"with {others[0]!r}{f' and {len(others) - 1} more' if others[1:] else ''}. Give a new "
            "directory."
        )
