"""The names that are known, and the packaged sample."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from twotower.datasets import loading as datasets
from twotower.datasets.kuairec import SCHEMA
from twotower.errors import ConfigError, DataError

SHARED = Path(__file__).parents[2].parent / "shared"


def test_sample() -> None:
    data = datasets.load("kuairec-sample")

    assert (len(data), data.users.height, data.items.height) == (117_113, 1411, 2519)
    assert data.notes == ()
    assert set(data.interactions.columns) == {"user_id", "video_id", "watch_ratio"}
    assert data.interactions.select("user_id", "video_id").is_unique().all()
    assert set(data.interactions.group_by("user_id").len()["len"]) == {83}
    assert (data.users["user_id"].min(), data.users["user_id"].max()) == (14, 7162)
    assert data.interactions["watch_ratio"].mean() == pytest.approx(0.918127, abs=1e-6)


def test_sample_has_the_real_features() -> None:
    items = datasets.load("kuairec-sample").items
    rows = {row["video_id"]: row for row in items.iter_rows(named=True)}

    assert rows[3649]["feat"] == [9]
    assert rows[390]["first_level_category_name"] == "颜值"
    assert rows[390]["second_level_category_name"] == "颜值随拍"
    assert rows[390]["third_level_category_name"] is None
    assert rows[390]["video_duration"] == 9184
    assert rows[391]["feat"] == [20, 11]
    assert rows[391]["caption"].startswith("想陪你看尽每一个日落")
    assert rows[391]["manual_cover_text"] == "礼花"
    assert [rows[video]["video_duration"] for video in (3649, 10360, 2267, 4364, 8234)] == [
        *(10867, 7067, 5467, 19367, 11000),  # as published
    ]
    assert items["video_duration"].null_count() == 300
    assert items["caption"].null_count() == 117
    assert items["first_level_category_id"].null_count() == 3


def test_recovered_durations_turn_ratios_into_whole_milliseconds() -> None:
    data = datasets.load("kuairec-sample")
    rows = data.interactions.join(data.items, on="video_id").drop_nulls("video_duration")
    played = (rows["watch_ratio"] * rows["video_duration"]).to_numpy()
    whole = np.abs(played - np.round(played)) < 1e-6
    each = rows.with_columns(whole=whole, played=played).group_by("video_id")
    videos = each.agg(pl.mean("whole"), pl.median("played"), pl.first("video_duration"))

    assert whole.mean() > 0.9  # of random durations one in 80 would fit by a small denominator
    assert videos["whole"].min() >= 0.3  # some rows have another of a video's durations
    # people watch about 7.5 s whatever the length, so no length is a multiple of the true one
    for low, high in ((0, 7), (7, 10), (10, 15), (15, 30), (30, 60), (60, 400)):
        band = videos.filter(pl.col("video_duration").is_between(1000 * low, 1000 * high))
        assert 7000 < band["played"].median() < 8000
        assert (band["played"] < 20_000).mean() > 0.97


def test_sample_schema_is_kuairecs_without_what_is_absent() -> None:
    sample = datasets.SAMPLE_SCHEMA

    assert sample.timestamp is None
    assert (sample.user, sample.item, sample.label, sample.duration) == (
        SCHEMA.user,
        SCHEMA.item,
        SCHEMA.label,
        SCHEMA.duration,
    )
    assert sample.users.items() <= SCHEMA.users.items()
    assert sample.items.items() <= SCHEMA.items.items()
    assert set(SCHEMA.users) - set(sample.users) == {"friend_list"}
    assert sample.display == SCHEMA.display


def test_sample_comes_with_its_origin_and_licence_and_is_small() -> None:
    folder = resources.files("twotower.datasets").joinpath("sample")
    text = folder.joinpath("ATTRIBUTION.md").read_text(encoding="utf-8")

    for wanted in ("CC BY-SA 4.0", "https://kuairec.com", "CIKM 2022", "Gao", "What was changed"):
        assert wanted in text
    tables = ("interactions.parquet", "users.parquet", "items.parquet")
    assert sum(len(folder.joinpath(name).read_bytes()) for name in tables) < 2_000_000


@pytest.mark.skipif(not (SHARED / "data" / "kuairec-sample").is_dir(), reason="the originals are not here")
def test_sample_holds_every_interaction_of_its_original() -> None:
    original = pl.read_parquet(SHARED / "data" / "kuairec-sample" / "interactions.parquet")
    ours = datasets.load("kuairec-sample").interactions

    def digest(frame: pl.DataFrame) -> str:
        rows = frame.sort(frame.columns).with_columns(pl.all().cast(pl.Float64)).to_numpy()
        return hashlib.sha256(rows.tobytes()).hexdigest()

    assert digest(original) == digest(ours.select("user_id", "video_id", "watch_ratio"))


def test_names() -> None:
    assert datasets.names() == [
        "kuairec-sample",
        "kuairec",
        "kuairec-small",
        "movielens-100k",
        "movielens-1m",
        "movielens",
    ]


def test_unknown_name() -> None:
    with pytest.raises(ConfigError, match=r"got 'kuairec_sample'\. Did you mean 'kuairec-sample'\?"):
        datasets.load("kuairec_sample")


@pytest.mark.parametrize(
    ("name", "archive"),
    [
        ("kuairec", "kuairec"),
        ("kuairec-small", "kuairec"),
        ("movielens-100k", "movielens-100k"),
        ("movielens-1m", "movielens-1m"),
        ("movielens", "movielens-latest-small"),
    ],
)
def test_without_its_directory_it_is_said_how_to_get_it(name: str, archive: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' needs the directory.*`twotower fetch {archive}`"):
        datasets.load(name)
    with pytest.raises(DataError, match="`twotower fetch"):
        datasets.load(name, tmp_path / "absent")


def test_a_known_name_reads_its_directory(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,964982703\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,Toy Story (1995),Comedy\n")

    assert len(datasets.load("movielens", tmp_path)) == 1
