"""KuaiRec 2.0: the seven files as one `Dataset`, from the downloaded zip or from a folder.

Which columns are read, and which are not:

- All user features. The ``onehot_feat`` columns are codes of encrypted categories, so they are read as
  categories. The ``_range`` columns are ordered, though not alphabetically: they become their position in the
  lists below.
- Video features that are fixed at upload: tags, caption, cover text, topics, the three levels of categories,
  author, music, tag, type, upload date and kind, size and duration.
- **None of the daily counts** (shows, plays, likes, ...), unless the schema names them in ``daily``. A sum
  over all days includes the very views to be predicted; only the days before each interaction are fair.
- **Not visible_status**: it changes over time (a video is made private, or taken down), and its last value
  leaks the future.

Values that mark unknown data (``UNKNOWN``, -124) become null.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from twotower.config.schema import Schema
from twotower.core.wording import count_of
from twotower.data.dataset import Dataset
from twotower.data.duplicates import deduplicate
from twotower.datasets.blocks import Dtypes, read_columns
from twotower.datasets.source import Source
from twotower.errors import DataError

MATRICES: Final = {"big": "big_matrix.csv", "small": "small_matrix.csv"}
"""The two interaction files by their short names."""

_RANGES = {
    "follow_user_num_range": "0 (0,10] (10,50] (50,100] (100,150] (150,250] (250,500] 500+",
    "fans_user_num_range": "0 [1,10) [10,100) [100,1k) [1k,5k) [5k,1w) [1w,10w)",
    "friend_user_num_range": "0 [1,5) [5,30) [30,60) [60,120) [120,250) 250+",
    "register_days_range": "15-30 31-60 61-90 91-180 181-365 366-730 730+",
}
RANGES: Final = {column: tuple(ranges.split()) for column, ranges in _RANGES.items()}
"""The ranges from low to high (w is 10,000); a column contains the position in this list, or null."""

_CODES = tuple(f"onehot_feat{i}" for i in range(18))
_FLAGS = ("is_lowactive_period", "is_live_streamer", "is_video_author")
_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_LEVELS = ("first", "second", "third")

_MATRIX_COLUMNS: Dtypes = {
    "user_id": pl.Int32,
    "video_id": pl.Int32,
    "video_duration": pl.Int32,
    "timestamp": pl.Float64,
    "watch_ratio": pl.Float64,
}
_DAILY_COLUMNS: Dtypes = {
    "video_id": pl.Int32,
    "date": pl.Int32,
    "author_id": pl.Int32,
    **dict.fromkeys(("video_type", "upload_dt", "upload_type"), pl.String),
    **dict.fromkeys(("video_duration", "video_width", "video_height"), pl.Float64),
    "music_id": pl.Int64,
    "video_tag_id": pl.Int32,
}
_UNKNOWN_CODE = -124
_UNKNOWN_TEXT = "UNKNOWN"
# These files are small, and a quoted caption may contain a line break, so they are parsed in one block.
_WHOLE = 1 << 30

SCHEMA: Final = Schema(
    user="user_id",
    item="video_id",
    label="watch_ratio",
    timestamp="timestamp",
    duration="video_duration",
    users={
        "user_active_degree": "category",
        **dict.fromkeys(_FLAGS, "category"),
        **dict.fromkeys(_COUNTS, "log_number"),
        **dict.fromkeys(RANGES, "number"),
        **dict.fromkeys(_CODES, "category"),
        "friend_list": "categories",
    },
    items={
        "feat": "categories",
        "caption": "text",
        "manual_cover_text": "text",
        "topic_tag": "categories",
        **{f"{level}_level_category_id": "category" for level in _LEVELS},
        "author_id": "category",
        "video_type": "category",
        "upload_dt": "timestamp",
        "upload_type": "category",
        "video_duration": "log_number",
        **dict.fromkeys(("video_width", "video_height"), "number"),
        **dict.fromkeys(("music_id", "video_tag_id"), "category"),
    },
    display=("caption", *(f"{level}_level_category_name" for level in _LEVELS)),
)
"""The schema; durations are in milliseconds."""


def read_kuairec(
    source: str | Path, matrix: str = "big", *, unique: bool = True, schema: Schema = SCHEMA
) -> Dataset:
    """Read KuaiRec 2.0 as a dataset.

    Args:
        source: the zip; the folder with the CSV files (``KuaiRec 2.0/data``, an older ``data``, or any
            other); or a folder that contains either.
        matrix: ``"big"``, ``"small"``, or the name of a file with the same columns.
        unique: keep one of the rows with the same user, video and timestamp: two partitions of the log behind
            the big matrix were written twice. Of the 2,186 pairs that differ, the row with the larger watch
            ratio is kept. Rows without a timestamp (4% of the small matrix) are kept.
        schema: `SCHEMA`, perhaps with more: counts of ``item_daily_features.csv`` in ``daily``, say.

    Raises:
        DataError: a file is missing or damaged, or a cell is of the wrong kind.
    """
    files = files_of(source)
    name = _matrix_name(matrix)
    users = read_users(source)
    items = read_items(source)
    if schema.daily:
        daily = read_daily(source, list(schema.daily))
        items = items.join(daily, on="video_id", how="left", validate="1:1", maintain_order="left")
    data = Dataset.of(
        read_matrix(source, matrix),
        users,
        items,
        schema=schema,
        sources={
            "interactions": str(files.get(name)),
            "users": str(files.get("user_features.csv")),
            "items": str(files.get("item_daily_features.csv")),
        },
    )
    if unique:
        data = deduplicate(data)
    untimed = data.interactions.get_column("timestamp").null_count()
    notes = [f"kept {count_of(untimed, 'row')} of {name} without a timestamp"] if untimed else []
    odd = {column: users.get_column(column).null_count() for column in RANGES}
    notes.extend(
        f"{column} of {count_of(count, 'user')} is not in the published list; read as missing"
        for column, count in odd.items()
        if count
    )
    return data.with_notes(*notes)


def read_matrix(source: str | Path, matrix: str = "big") -> pl.DataFrame:
    """Read an interaction file as published: every row, including duplicates and rows without a timestamp.

    Of its eight columns only those that carry information: ``user_id``, ``video_id``, ``video_duration``
    (ms), ``timestamp`` (s, null where empty) and ``watch_ratio``. ``time`` is the timestamp at UTC+8;
    ``date`` is the partition of the log, which is not always the day of the event. Watch ratios are not
    changed, not even the largest of the big matrix (573, from a corrupt duration of 140 ms): cap the label,
    not the data.
    """
    return read_columns(
        files_of(source).get(_matrix_name(matrix)),
        _MATRIX_COLUMNS,
        required=("user_id", "video_id", "watch_ratio"),
        quoted=False,
    )


def read_users(source: str | Path) -> pl.DataFrame:
    """Read the users with all their features, and their friends (an empty list for most)."""
    social = _one_row_an_id(source, "social_network.csv", {"user_id": pl.Int32, "friend_list": pl.String})
    friends = social.with_columns(_code_list("friend_list", pl.Int32))
    joined = read_user_features(source).join(
        friends, on="user_id", how="left", validate="1:1", maintain_order="left"
    )
    return joined.with_columns(_filled("friend_list"))


def read_user_features(source: str | Path) -> pl.DataFrame:
    """Read ``user_features.csv``: the features of `SCHEMA` except the friends."""
    columns: Dtypes = {
        "user_id": pl.Int32,
        "user_active_degree": pl.String,
        **dict.fromkeys(_FLAGS, pl.Int8),
        **dict.fromkeys(_COUNTS, pl.Int32),
        **dict.fromkeys(RANGES, pl.String),
        **dict.fromkeys(_CODES, pl.Int32),
    }
    return _one_row_an_id(source, "user_features.csv", columns).with_columns(
        _known_text("user_active_degree"),
        *(
            pl.col(column).replace_strict(
                {label: place for place, label in enumerate(labels)}, default=None, return_dtype=pl.Int8
            )
            for column, labels in RANGES.items()
        ),
    )


def read_items(source: str | Path) -> pl.DataFrame:
    """Read the videos: their content, and the columns of the daily features that do not change over time."""
    content = read_item_content(source)
    joined = content.join(_static_features(source), on="video_id", how="full", coalesce=True, validate="1:1")
    return joined.with_columns(_filled("feat"), _filled("topic_tag")).sort("video_id")


def read_item_content(source: str | Path) -> pl.DataFrame:
    """Read the content of the videos: tags, caption, cover text, topics and three levels of categories."""
    tags = _one_row_an_id(source, "item_categories.csv", {"video_id": pl.Int32, "feat": pl.String})
    tags = tags.with_columns(_code_list("feat", pl.Int16))
    columns: Dtypes = {
        "video_id": pl.Int32,
        **dict.fromkeys(("caption", "manual_cover_text", "topic_tag"), pl.String),
        **{f"{level}_level_category_id": pl.Int32 for level in _LEVELS},
        **{f"{level}_level_category_name": pl.String for level in _LEVELS},
    }
    captions = _one_row_an_id(source, "kuairec_caption_category.csv", columns).with_columns(
        # Four captions contain a bare CR.
        _known_text(pl.col("caption").str.replace_all("\r", "", literal=True).str.strip_chars().name.keep()),
        _known_text("manual_cover_text"),
        _name_list("topic_tag"),
        *(_known_code(f"{level}_level_category_id") for level in _LEVELS),
        *(_known_text(f"{level}_level_category_name") for level in _LEVELS),
    )
    joined = tags.join(captions, on="video_id", how="full", coalesce=True, validate="1:1")
    return joined.with_columns(_filled("feat"), _filled("topic_tag")).sort("video_id")


def _static_features(source: str | Path) -> pl.DataFrame:
    """Return each static column from the earliest day that has it, so it was known before all later
    events."""
    daily = read_columns(
        files_of(source).get("item_daily_features.csv"),
        _DAILY_COLUMNS,
        required=("video_id", "date"),
        block=_WHOLE,
    ).with_columns(
        _known_code("video_tag_id"),
        _known_text("video_type"),
        _known_text("upload_type"),
        pl.col("upload_dt").str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False),
    )
    static = [column for column in _DAILY_COLUMNS if column not in ("video_id", "date")]
    return (
        daily.sort("video_id", "date")
        .group_by("video_id", maintain_order=True)
        .agg(pl.col(column).drop_nulls().first() for column in static)
    )


def read_daily(source: str | Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read counts of ``item_daily_features.csv``: a row a video, each column a list of ``{date, value}``.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    daily = read_columns(
        files_of(source).get("item_daily_features.csv"),
        {"video_id": pl.Int32, "date": pl.Int32, **dict.fromkeys(columns, pl.Float64)},
        required=("video_id", "date"),
        block=_WHOLE,
    ).with_columns(pl.col("date").cast(pl.String).str.to_date("%Y%m%d"))
    return daily.group_by("video_id", maintain_order=True).agg(
        pl.struct("date", value=pl.col(column)).alias(column) for column in columns
    )


def files_of(source: str | Path) -> Source:
    """Return where the seven files are looked for."""
    return Source(
        source,
        folders=("data", "KuaiRec*/data", "KuaiRec*", "*/data", "*/KuaiRec*/data"),
        archives=("KuaiRec*.zip",),
        fetch="kuairec",
    )


def _matrix_name(matrix: str) -> str:
    return MATRICES.get(matrix, matrix)


def _one_row_an_id(source: str | Path, name: str, columns: Dtypes) -> pl.DataFrame:
    """Read columns of a small file, the first of which are ids that differ."""
    file, ids = files_of(source).get(name), next(iter(columns))
    table = read_columns(file, columns, required=(ids,), block=_WHOLE)
    twice = table.get_column(ids).is_duplicated()
    if twice.any():
        example = table.get_column(ids).filter(twice)[0]
        raise DataError(f"{file}: an id must have at most one row, and {ids} {example} has several; keep one")
    return table


def _name_list(column: str) -> pl.Expr:
    """Parse ``[a,b]`` as a list of strings; the names are not quoted, so it is not JSON."""
    name = pl.element().str.strip_chars()
    return pl.col(column).str.strip_chars(" []").str.split(",").list.eval(name.filter(name != ""))


def _code_list(column: str, dtype: type[pl.DataType]) -> pl.Expr:
    """Parse ``[27, 9]`` as a list of codes."""
    return pl.col(column).str.extract_all(r"-?\d+").list.eval(pl.element().cast(dtype))


def _filled(column: str) -> pl.Expr:
    """Replace a missing list by an empty one: missing means none here, not unknown."""
    return pl.col(column).fill_null([])


def _known_text(column: str | pl.Expr) -> pl.Expr:
    text = pl.col(column) if isinstance(column, str) else column
    return pl.when(~text.is_in([_UNKNOWN_TEXT, ""])).then(text)


def _known_code(column: str) -> pl.Expr:
    return pl.when(pl.col(column) != _UNKNOWN_CODE).then(pl.col(column))
