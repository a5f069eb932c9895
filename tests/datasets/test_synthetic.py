"""The synthetic KuaiRec has the real files' schema, quirks and statistics."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from twotower.datasets.synthetic import write_kuairec
from twotower.errors import ConfigError

SCALE = 0.03

# The headers of the real KuaiRec 2.0 files.
HEADERS = {
    "big_matrix.csv": "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio",
    "small_matrix.csv": "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio",
    "user_features.csv": (
        "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
        "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,"
        "register_days,register_days_range,onehot_feat0,onehot_feat1,onehot_feat2,onehot_feat3,onehot_feat4,"
        "onehot_feat5,onehot_feat6,onehot_feat7,onehot_feat8,onehot_feat9,onehot_feat10,onehot_feat11,"
        "onehot_feat12,onehot_feat13,onehot_feat14,onehot_feat15,onehot_feat16,onehot_feat17"
    ),
    "item_daily_features.csv": (
        "video_id,date,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,video_width,"
        "video_height,music_id,video_tag_id,video_tag_name,show_cnt,show_user_num,play_cnt,play_user_num,"
        "play_duration,complete_play_cnt,complete_play_user_num,valid_play_cnt,valid_play_user_num,"
        "long_time_play_cnt,long_time_play_user_num,short_time_play_cnt,short_time_play_user_num,"
        "play_progress,comment_stay_duration,like_cnt,like_user_num,click_like_cnt,double_click_cnt,"
        "cancel_like_cnt,cancel_like_user_num,comment_cnt,comment_user_num,direct_comment_cnt,"
        "reply_comment_cnt,delete_comment_cnt,delete_comment_user_num,comment_like_cnt,"
        "comment_like_user_num,follow_cnt,follow_user_num,cancel_follow_cnt,cancel_follow_user_num,"
        "share_cnt,share_user_num,download_cnt,download_user_num,report_cnt,report_user_num,"
        "reduce_similar_cnt,reduce_similar_user_num,collect_cnt,collect_user_num,cancel_collect_cnt,"
        "cancel_collect_user_num"
    ),
    "item_categories.csv": "video_id,feat",
    "social_network.csv": "user_id,friend_list",
    "kuairec_caption_category.csv": (
        "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
        "second_level_category_id,second_level_category_name,third_level_category_id,"
        "third_level_category_name"
    ),
}
KEY = ["user_id", "video_id", "timestamp"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    directory = tmp_path_factory.mktemp("kuairec")
    return directory, write_kuairec(directory, scale=SCALE, seed=0)


@pytest.fixture(scope="module")
def folder(written: tuple[Path, dict[str, int]]) -> Path:
    return written[0]


@pytest.fixture(scope="module")
def big(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "big_matrix.csv")


@pytest.fixture(scope="module")
def small(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "small_matrix.csv", schema_overrides={"date": pl.String})


@pytest.fixture(scope="module")
def users(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "user_features.csv")


@pytest.fixture(scope="module")
def daily(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "item_daily_features.csv")


@pytest.fixture(scope="module")
def tags(folder: Path) -> list[list[int]]:
    return [json.loads(feat) for feat in pl.read_csv(folder / "item_categories.csv")["feat"]]


@pytest.fixture(scope="module")
def captions(folder: Path) -> list[dict[str, str]]:
    text = (folder / "kuairec_caption_category.csv").read_bytes().decode().replace("\r", "<CR>")
    return list(csv.DictReader(io.StringIO(text, newline="")))


# --- schema -----------------------------------------------------------------------------------------------


def test_files_headers_and_row_counts(written: tuple[Path, dict[str, int]]) -> None:
    folder, rows = written
    assert sorted(path.name for path in folder.iterdir()) == sorted(HEADERS)
    assert list(rows) == list(HEADERS)
    for name, header in HEADERS.items():
        content = (folder / name).read_bytes()
        assert content.split(b"\n", 1)[0].decode() == header
        assert content.count(b"\n") == rows[name] + 1  # no text holds a line feed
    assert len(HEADERS["item_daily_features.csv"].split(",")) == 58


def test_sizes_shrink_with_the_scale(written: tuple[Path, dict[str, int]]) -> None:
    rows = written[1]
    assert rows["big_matrix.csv"] == round(12_530_806 * SCALE)
    assert rows["user_features.csv"] == round(7_176 * SCALE**0.5)
    assert rows["item_categories.csv"] == rows["kuairec_caption_category.csv"] == round(10_728 * SCALE**0.5)
    assert rows["small_matrix.csv"] == pytest.approx(4_676_570 * SCALE, rel=0.01)
    assert rows["item_daily_features.csv"] == pytest.approx(343_341 * SCALE**0.5, rel=0.001)
    assert rows["social_network.csv"] == pytest.approx(472 * SCALE**0.5, abs=1)


def test_ids_are_dense_and_all_in_big(
    big: pl.DataFrame, users: pl.DataFrame, daily: pl.DataFrame, tags: list[list[int]]
) -> None:
    assert users["user_id"].to_list() == list(range(users.height))
    assert big["user_id"].unique().sort().to_list() == list(range(users.height))
    assert big["video_id"].unique().sort().to_list() == list(range(len(tags)))
    assert daily["video_id"].n_unique() == len(tags)


# --- quirks of the matrices -------------------------------------------------------------------------------


def test_ratio_is_play_over_duration_in_full_precision(big: pl.DataFrame, small: pl.DataFrame) -> None:
    for table in (big, small):
        assert (table["watch_ratio"] == table["play_duration"] / table["video_duration"]).all()
        assert table["play_duration"].min() >= 0
        assert table["play_duration"].dtype == table["video_duration"].dtype == pl.Int64


def test_time_is_eight_hours_ahead_with_one_to_three_fractional_digits(big: pl.DataFrame) -> None:
    local = pl.col("time").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ms").dt.epoch("ms")
    ahead = big.select(local - (pl.col("timestamp") * 1000).round().cast(pl.Int64)).to_series()
    assert ahead.unique().to_list() == [8 * 3_600_000]
    digits = big["time"].str.split(".").list.get(1).str.len_chars()
    assert sorted(digits.unique().to_list()) == [1, 2, 3]
    assert (digits < 3).mean() == pytest.approx(0.10, abs=0.01)


def test_big_is_ordered_by_user_then_time(big: pl.DataFrame) -> None:
    assert big.select("user_id", "timestamp").equals(
        big.select("user_id", "timestamp").sort("user_id", "timestamp")
    )


def test_big_covers_three_windows_and_its_partition_sometimes_disagrees(big: pl.DataFrame) -> None:
    dates = {*range(20200705, 20200713), *range(20200801, 20200811), *range(20200827, 20200832)}
    assert set(big["date"]) == dates | set(range(20200901, 20200906))
    local = big["time"].str.slice(0, 10).str.replace_all("-", "").cast(pl.Int64)
    assert (local != big["date"]).sum() == round(15_530 * SCALE)


def test_big_holds_two_partitions_twice_and_near_copies(big: pl.DataFrame) -> None:
    copies = big.height - big.unique().height
    assert copies == round(965_819 * SCALE)
    for partition in (20200805, 20200831):
        rows = big.filter(pl.col("date") == partition)
        assert rows.is_duplicated().all()
    assert big.filter(~pl.col("date").is_in([20200805, 20200831])).is_unique().all()
    assert big.unique().height - big.unique(KEY).height == round(2_186 * SCALE)


def test_rewatches_are_about_as_common_as_in_the_real_file(big: pl.DataFrame) -> None:
    events = big.unique(KEY)
    assert events.unique(["user_id", "video_id"]).height / events.height == pytest.approx(0.89, abs=0.04)


def test_one_duration_of_big_is_corrupt_and_makes_its_largest_ratio(big: pl.DataFrame) -> None:
    worst = big.sort("watch_ratio").tail(1).row(0, named=True)
    assert (worst["play_duration"], worst["video_duration"]) == (80_284, 140)
    assert (big["video_duration"] < 1000).sum() == 1


def test_a_third_of_videos_vary_in_duration(small: pl.DataFrame) -> None:
    spread = small.group_by("video_id").agg(
        distinct=pl.col("video_duration").n_unique(),
        range=pl.col("video_duration").max() - pl.col("video_duration").min(),
    )
    assert (spread["distinct"] > 1).mean() == pytest.approx(1 / 3, abs=0.06)
    assert spread["range"].max() < 150


def test_small_is_almost_fully_observed_and_disjoint_from_big(big: pl.DataFrame, small: pl.DataFrame) -> None:
    cells = small["user_id"].n_unique() * small["video_id"].n_unique()
    assert small.height / cells == pytest.approx(0.9962, abs=0.001)
    assert small.select("user_id", "video_id").is_unique().all()
    assert big.join(small, on=["user_id", "video_id"], how="semi").is_empty()
    assert small["user_id"].n_unique() == pytest.approx(1_411 * SCALE**0.5, abs=1)
    assert small["video_id"].n_unique() == pytest.approx(3_327 * SCALE**0.5, abs=1)


def test_some_rows_of_small_have_no_time_so_its_dates_are_floats(small: pl.DataFrame) -> None:
    empty = small["time"].is_null()
    assert empty.mean() == pytest.approx(0.0389, abs=0.0005)
    assert (small["date"].is_null() == empty).all()
    assert (small["timestamp"].is_null() == empty).all()
    dates = small["date"].drop_nulls()
    assert dates.str.contains(r"^2020\d{4}\.0$").all()
    assert dates.n_unique() == 63
    assert small["watch_ratio"].null_count() == 0


def test_largest_ratio_of_small_is_a_true_loop(small: pl.DataFrame) -> None:
    worst = small.sort("watch_ratio").tail(1).row(0, named=True)
    assert worst["watch_ratio"] == pytest.approx(571.52, abs=0.01)
    assert worst["video_duration"] > 5_000


# --- quirks of the feature files --------------------------------------------------------------------------


def test_user_features_have_the_real_levels_and_empty_cells(users: pl.DataFrame) -> None:
    share = users.height / 7_176
    active = {"full_active": 6_092, "high_active": 938, "UNKNOWN": 118, "middle_active": 28}
    for level, count in active.items():
        assert (users["user_active_degree"] == level).sum() == pytest.approx(count * share, abs=1)
    empty = {4: 201, 12: 77, 13: 75, 14: 75, 15: 74, 16: 74, 17: 74}
    for feature in range(18):
        assert users[f"onehot_feat{feature}"].null_count() == round(empty.get(feature, 0) * share)
    for feature, size in {0: 2, 6: 3, 7: 47, 8: 340, 9: 7, 11: 3}.items():
        assert users[f"onehot_feat{feature}"].n_unique() == size
    for feature, mean in {12: 0.30, 13: 0.10, 14: 0.09, 15: 0.019, 16: 0.018, 17: 0.015}.items():
        assert users[f"onehot_feat{feature}"].mean() == pytest.approx(mean, abs=0.01)
    assert {"500+", "(10,50]", "0"} <= set(users["follow_user_num_range"])
    assert {"0", "[1,10)", "[10,100)"} <= set(users["fans_user_num_range"])
    assert {"0", "[1,5)", "[5,30)"} <= set(users["friend_user_num_range"])
    assert {"15-30", "31-60", "730+"} <= set(users["register_days_range"])


def test_tags_are_lists_with_the_real_counts(folder: Path, tags: list[list[int]]) -> None:
    content = (folder / "item_categories.csv").read_text()
    assert ",[" in content
    assert ',"[' in content  # lists of two tags and more are quoted
    share = len(tags) / 10_728
    for size, count in {1: 8_970, 2: 1_562, 3: 185, 4: 11}.items():
        assert sum(len(row) == size for row in tags) == pytest.approx(count * share, abs=1)
    assert all(len(set(row)) == len(row) for row in tags)
    counts = np.bincount([tag for row in tags for tag in row], minlength=31)
    assert counts[11] == pytest.approx(2_027 * share, abs=2)
    assert counts[28] == pytest.approx(1_360 * share, abs=2)


def test_captions_have_bare_returns_empty_texts_and_unknown_categories(
    captions: list[dict[str, str]],
) -> None:
    share = len(captions) / 10_728
    returns = [int(row["video_id"]) for row in captions if "<CR>" in row["caption"]]
    assert returns == [video for video in (1378, 1613, 5910, 6331) if video < len(captions)]
    assert returns, "the scale of this test is too small to hold one"
    assert sum(row["caption"] == "" for row in captions) == pytest.approx(1_355 * share, abs=1)
    assert sum(row["manual_cover_text"] == "UNKNOWN" for row in captions) == pytest.approx(
        6_694 * share, abs=1
    )
    for level, count in {"first": 40, "second": 3_583, "third": 6_832}.items():
        unknown = [row[f"{level}_level_category_id"] == "-124" for row in captions]
        assert sum(unknown) == pytest.approx(count * share, abs=1)
        named = [row[f"{level}_level_category_name"] == "UNKNOWN" for row in captions]
        assert named == unknown
    assert len({row["first_level_category_id"] for row in captions}) == 39
    assert any(row["topic_tag"].count(",") > 1 for row in captions)


def test_daily_features_have_one_row_a_day_and_the_real_gaps(daily: pl.DataFrame) -> None:
    share = daily.height / 343_341
    assert daily.select("video_id", "date").is_unique().all()
    assert daily["date"].n_unique() == 63
    assert daily["video_duration"].null_count() == pytest.approx(10_598 * share, rel=0.05)
    assert daily["video_tag_name"].null_count() == pytest.approx(32_434 * share, rel=0.05)
    assert ((daily["video_tag_id"] == -124) == daily["video_tag_name"].is_null()).all()
    for column in ("collect_cnt", "collect_user_num", "cancel_collect_cnt", "cancel_collect_user_num"):
        assert daily[column].null_count() == pytest.approx(69_683 * share, abs=1)
    assert daily["upload_type"].n_unique() == 18
    assert (daily["upload_type"] == "ShortImport").mean() == pytest.approx(0.588, abs=0.03)
    assert set(daily["video_type"]) == {"NORMAL", "AD"}
    assert daily["music_id"].max() > 2**32  # doesn't fit 32 bits


def test_social_network_names_other_users(folder: Path, users: pl.DataFrame) -> None:
    table = pl.read_csv(folder / "social_network.csv")
    for user, text in table.iter_rows():
        friends = json.loads(text)
        assert 1 <= len(friends) <= 5
        assert user not in friends
        assert all(0 <= friend < users.height for friend in friends)


# --- calibration ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mean", "quantiles", "shares"),
    [
        ("big", 0.945, (0.315, 0.723, 1.178), (0.208, 0.151, 0.303, 0.263, 0.075)),
        ("small", 0.907, (0.468, 0.769, 1.121), (0.127, 0.145, 0.403, 0.278, 0.046)),
    ],
)
def test_watch_ratio_is_calibrated(
    name: str,
    mean: float,
    quantiles: tuple[float, ...],
    shares: tuple[float, ...],
    request: pytest.FixtureRequest,
) -> None:
    ratio = request.getfixturevalue(name)["watch_ratio"].to_numpy()
    assert ratio.mean() == pytest.approx(mean, rel=0.07)
    assert np.quantile(ratio, [0.25, 0.5, 0.75]) == pytest.approx(quantiles, rel=0.05)
    # At this scale small has 576 videos, whose effects move a share by about .01; at full size by .004.
    assert np.histogram(ratio, [0, 0.25, 0.5, 1, 2, 1e9])[0] / len(ratio) == pytest.approx(shares, abs=0.02)
    assert (ratio > 5).mean() == pytest.approx(0.009 if name == "big" else 0.005, abs=0.0025)


def test_people_watch_equally_long_whatever_the_length(big: pl.DataFrame) -> None:
    for low, high, median in ((5.5, 7, 1.20), (8, 9, 0.90), (10, 11, 0.73), (12.5, 15, 0.56), (20, 30, 0.32)):
        rows = big.filter(pl.col("video_duration").is_between(low * 1000, high * 1000))
        assert rows["watch_ratio"].median() == pytest.approx(median, rel=0.1)


def test_durations_are_calibrated(big: pl.DataFrame) -> None:
    seconds = big["video_duration"].to_numpy() / 1000
    assert np.quantile(seconds, [0.25, 0.5, 0.75]) == pytest.approx((7.4, 9.6, 12.2), rel=0.05)
    assert seconds.mean() == pytest.approx(14.6, rel=0.07)
    assert seconds.max() < 316


def test_activity_and_popularity_are_calibrated(big: pl.DataFrame) -> None:
    side = SCALE**0.5
    rows = big.group_by("user_id").len()["len"].to_numpy() / side
    assert np.quantile(rows, [0.25, 0.5, 0.75, 0.9]) == pytest.approx((883, 1846, 2461, 2912), rel=0.05)
    counts = np.sort(big.unique(KEY).group_by("video_id").len()["len"].to_numpy())
    assert counts.mean() / side == pytest.approx(1_078, rel=0.01)
    assert np.median(counts) / side == pytest.approx(228, rel=0.15)
    running = np.cumsum(counts) / counts.sum()
    assert 1 - running[int(len(counts) * 0.9)] == pytest.approx(0.41, abs=0.03)
    assert 1 - 2 * running.sum() / len(counts) + 1 / len(counts) == pytest.approx(0.68, abs=0.03)


def test_feature_quantiles_are_calibrated(users: pl.DataFrame, daily: pl.DataFrame) -> None:
    def quartiles(column: pl.Series) -> list[float | None]:
        return [column.quantile(q, interpolation="linear") for q in (0.25, 0.5, 0.75)]

    assert quartiles(users["follow_user_num"]) == pytest.approx([9, 33, 130], abs=1)
    assert quartiles(users["fans_user_num"]) == pytest.approx([0, 2, 6], abs=0.5)
    assert quartiles(users["register_days"]) == pytest.approx([132, 225, 324], abs=1)
    assert quartiles(daily["show_cnt"]) == pytest.approx([55, 1_328, 24_190], rel=0.02)
    assert quartiles(daily["play_cnt"]) == pytest.approx([14, 628, 20_671], rel=0.1)
    assert quartiles(daily["like_cnt"]) == pytest.approx([0, 9, 421], rel=0.1)
    assert quartiles(daily["play_progress"]) == pytest.approx([0.12, 0.35, 0.64], abs=0.01)


# --- signal -----------------------------------------------------------------------------------------------


def variance_share(table: pl.DataFrame, key: str, value: str) -> float:
    """1 - (variance within groups) / (variance): the unbiased share that the group explains."""
    groups = table.group_by(key).agg(n=pl.len(), var=pl.col(value).var()).filter(pl.col("n") > 1)
    within = (groups["var"] * (groups["n"] - 1)).sum() / (groups["n"] - 1).sum()
    return 1 - within / table[value].var()


@pytest.fixture(scope="module")
def ranked(small: pl.DataFrame) -> pl.DataFrame:
    """Capped ratio and rank of the play time within one of 20 duration buckets."""
    bucket = pl.col("video_duration").rank("ordinal") * 20 // (small.height + 1)
    return small.with_columns(bucket=bucket, capped=pl.col("watch_ratio").clip(0, 5)).with_columns(
        rank=pl.col("play_duration").rank().over("bucket") / pl.len().over("bucket")
    )


def test_ids_carry_signal(ranked: pl.DataFrame) -> None:
    assert variance_share(ranked, "user_id", "capped") == pytest.approx(0.05, abs=0.02)
    assert 0.28 < variance_share(ranked, "video_id", "capped") < 0.46
    assert variance_share(ranked, "user_id", "rank") == pytest.approx(0.10, abs=0.02)
    assert variance_share(ranked, "video_id", "rank") == pytest.approx(0.085, abs=0.02)


def test_features_carry_signal_to_users_never_seen(
    big: pl.DataFrame, users: pl.DataFrame, ranked: pl.DataFrame
) -> None:
    """A ridge of the mean rank on one-hot features, fitted on some users, predicts the others'."""
    bucket = pl.col("video_duration").rank("ordinal") * 20 // (big.height + 1)
    ranks = big.with_columns(rank=pl.col("play_duration").rank().over(bucket) / pl.len().over(bucket))
    mean = ranks.group_by("user_id").agg(pl.col("rank").mean()).sort("user_id")["rank"].to_numpy()
    codes = users.select(
        "user_active_degree", "is_video_author", *(f"onehot_feat{k}" for k in (0, 1, 6, 9, 10, 12))
    )
    dummies = codes.cast(pl.String).fill_null("empty").to_dummies().to_numpy().astype(np.float64)
    numbers = np.log1p(users.select("follow_user_num", "fans_user_num", "register_days").to_numpy())
    design = np.column_stack([np.ones(len(mean)), dummies, (numbers - numbers.mean(0)) / numbers.std(0)])
    fitted = np.arange(len(mean)) % 3 > 0
    gram = design[fitted].T @ design[fitted] + 5 * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design[fitted].T @ mean[fitted])
    assert np.corrcoef(design[~fitted] @ weights, mean[~fitted])[0, 1] > 0.3


def test_users_and_videos_interact(ranked: pl.DataFrame) -> None:
    """What is left of the rank without main effects has structure: its largest singular values stand out."""
    table = ranked.pivot(on="video_id", index="user_id", values="rank", aggregate_function="first")
    matrix = table.drop("user_id").fill_null(0.5).to_numpy()
    matrix = matrix - matrix.mean(0) - matrix.mean(1, keepdims=True) + matrix.mean()
    shuffled = np.random.default_rng(0).permuted(matrix, axis=1)
    real, noise = (np.linalg.eigvalsh(m @ m.T)[-1] for m in (matrix, shuffled))
    assert real > 1.4 * noise


# --- behaviour --------------------------------------------------------------------------------------------


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_kuairec(tmp_path / name, scale=0.0005, seed=seed)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert all(hashes(tmp_path / "a")[name] != digest for name, digest in hashes(tmp_path / "c").items())


def test_tiniest_scale_has_all_files_and_ids(tmp_path: Path) -> None:
    rows = write_kuairec(tmp_path, scale=1e-9)
    assert rows["user_features.csv"] == 40
    assert rows["item_categories.csv"] == 60
    big = pl.read_csv(tmp_path / "big_matrix.csv")
    assert big["user_id"].n_unique() == 40
    assert big["video_id"].n_unique() == 60


def test_progress_ends_every_file_at_one_and_old_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "big_matrix.csv").write_text("old")
    (tmp_path / "small_matrix.csv.partial").write_text("left by a crash")
    told: list[tuple[str, float]] = []
    write_kuairec(tmp_path, scale=0.0005, progress=lambda stage, fraction: told.append((stage, fraction)))
    assert {stage for stage, fraction in told if fraction == 1.0} == set(HEADERS)
    assert all(0 <= fraction <= 1 for _, fraction in told)
    assert {path.name for path in tmp_path.iterdir()} == set(HEADERS)


@pytest.mark.parametrize("scale", [0.0, -1.0, 10.5, float("nan"), float("inf")])
def test_scale_out_of_range_is_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(ConfigError, match=r"scale must be above 0 and at most 10, got .*Use 1\.0"):
        write_kuairec(tmp_path, scale=scale)
    assert not list(tmp_path.iterdir())


def test_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed must be 0 or larger, got -1"):
        write_kuairec(tmp_path, seed=-1)


def test_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"'thesis\.tex'.*Give a new directory"):
        write_kuairec(tmp_path, scale=0.001)
    with pytest.raises(ConfigError, match="got the file"):
        write_kuairec(tmp_path / "thesis.tex", scale=0.001)
