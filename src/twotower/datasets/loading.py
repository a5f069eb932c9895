"""The named data sets; one of them, a sample of KuaiRec, comes with the package."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Final

import polars as pl

from twotower.config.schema import Schema
from twotower.core.forking import check_process
from twotower.data.dataset import Dataset
from twotower.datasets.kuairec import SCHEMA, read_kuairec
from twotower.datasets.movielens import read_movielens
from twotower.errors import ConfigError, nearest

_ABSENT = (
    "friend_list author_id video_type upload_dt upload_type video_width video_height music_id video_tag_id"
)

SAMPLE_SCHEMA: Final = Schema(
    user=SCHEMA.user,
    item=SCHEMA.item,
    label=SCHEMA.label,
    duration=SCHEMA.duration,
    users={name: kind for name, kind in SCHEMA.users.items() if name not in _ABSENT.split()},
    items={name: kind for name, kind in SCHEMA.items.items() if name not in _ABSENT.split()},
    display=SCHEMA.display,
)
"""The schema of KuaiRec without what the sample lacks: timestamps, friends, daily features."""


def load_sample() -> Dataset:
    """Read the packaged sample: 83 entries per user of KuaiRec's fully observed matrix.

    117,113 interactions of 1,411 users with 2,519 videos, each pair at most once, with their real features
    and no timestamps. A video's duration is null where it could not be recovered from its watch ratios.
    ``sample/ATTRIBUTION.md`` states the origin and the licence (CC BY-SA 4.0).
    """
    check_process()
    folder = resources.files("twotower.datasets").joinpath("sample")
    tables = [
        pl.read_parquet(BytesIO(folder.joinpath(f"{name}.parquet").read_bytes()))
        for name in ("interactions", "users", "items")
    ]
    return Dataset.of(*tables, schema=SAMPLE_SCHEMA)


_Reader = Callable[[Path], Dataset]

# Name -> the archive that `twotower fetch` downloads, and the function that reads its folder.
_FETCHED: Final[dict[str, tuple[str, _Reader]]] = {
    "kuairec": ("kuairec", lambda folder: read_kuairec(folder, "big")),
    "kuairec-small": ("kuairec", lambda folder: read_kuairec(folder, "small")),
    "movielens-100k": ("movielens-100k", lambda folder: read_movielens(folder, "100k")),
    "movielens-1m": ("movielens-1m", lambda folder: read_movielens(folder, "1m")),
    "movielens": ("movielens-latest-small", lambda folder: read_movielens(folder, "csv")),
}

SAMPLE: Final = "kuairec-sample"


def names() -> list[str]:
    """Return the names of the data sets that `load` can read."""
    return [SAMPLE, *_FETCHED]


def load(name: str, directory: str | Path | None = None) -> Dataset:
    """Load a data set by name.

    Args:
        name: one of `names()`. ``movielens`` is any release with ratings.csv and movies.csv.
        directory: where its files or its archive are; not needed for the packaged ``kuairec-sample``.

    Raises:
        ConfigError: an unknown name, or no directory for a data set that is not packaged.
        DataError: the directory lacks the files, or they are damaged.
    """
    if name == SAMPLE:
        return load_sample()
    if name not in _FETCHED:
        raise ConfigError(
            f"a data set must be one of {', '.join(names())}; got {name!r}.{nearest(name, names())}"
        )
    archive, read = _FETCHED[name]
    if directory is None:
        raise ConfigError(
            f"'{name}' needs the directory of its files, got none; run `twotower fetch {archive}` and pass "
            "the folder that it prints"
        )
    return read(Path(directory))
