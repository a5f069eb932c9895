"""KuaiRec: tiny files with every quirk of the real ones, in every layout; and the real side files."""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from twotower.config import load_config
from twotower.config.kinds import kind_of
from twotower.core.vocabulary import Vocabulary
from twotower.datasets import kuairec
from twotower.datasets.blocks import read_columns
from twotower.datasets.configured import read_raw
from twotower.datasets.source import FoundFile, Source
from twotower.errors import DataError
from twotower.features.item_statistics import ItemStatistics

SHARED = Path(__file__).parents[2].parent / "shared"
REAL = SHARED / "data" / "kuairec-real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not here")

MATRIX_HEADER = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
BIG = MATRIX_HEADER + (
    "0,1,500,1000,2020-07-05 00:08:23.438,20200705,1593878903.438,0.5\n"
    "0,2,3000,2000,2020-07-05 00:13:43.3,20200705,1593879223.3,1.5\n"  # one fractional digit
    "0,2,3000,2000,2020-07-05 00:13:43.3,20200705,1593879223.3,1.5\n"  # the log written twice
    "0,2,1000,2000,2020-07-05 00:13:43.3,20200705,1593879223.3,0.5\n"  # same user, video and timestamp
    "0,2,3000,2000,2020-07-06 00:13:43.3,20200705,1593965623.3,1.5\n"  # watched again; date of the partition
    "1,2,80284,140,2020-07-05 00:13:43.3,20200705,1593879223.3,573.4571428571429\n"
)
SMALL = MATRIX_HEADER + (
    "1,1,700,1000,2020-07-05 05:27:48.378,20200705.0,1593898068.378,0.7\n"
    "1,3,0,3000,,,,0.0\n"
    "2,3,0,3000,,,,0.0\n"
    "2,1,2000,1000,2020-07-05 05:28:00.0,20200705.0,1593898080.0,2.0\n"
)
USERS = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,"
    "follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,"
    "register_days_range," + ",".join(f"onehot_feat{i}" for i in range(18)) + "\n"
    '0,high_active,0,0,1,5,"(0,10]",0,0,0,0,107,91-180,' + ",".join("1" * 18) + "\n"
    '1,UNKNOWN,0,0,0,386,"(250,500]",12000,"[1w,10w)",2,"[1,5)",731,730+,0,1,2,3,,5,6,7,8,9,10,11,,,,,,\n'
    "2,full_active,1,1,0,900,500+,3,odd,300,250+,20,15-30,0,1,2,3,,5,6,7,8,9,10,11,,,,,,\n"
)
SOCIAL = 'user_id,friend_list\n0,[2]\n2,"[0, 1]"\n'
CATEGORIES = 'video_id,feat\n1,[8]\n2,"[27, 9]"\n3,"[1, 2, 3, 4]"\n'
CAPTIONS = (
    "video_id,manual_cover_text,caption,topic_tag,first_level_category_id,first_level_category_name,"
    "second_level_category_id,second_level_category_name,third_level_category_id,third_level_category_name\n"
    "1,UNKNOWN,一段王朝\r！,[],8,颜值,673,颜值随拍,-124,UNKNOWN\n"
    '2,封面,"逗号, 和""引号""","[上热门,作品推广]",-124,UNKNOWN,-124,UNKNOWN,-124,UNKNOWN\n'
    "3,UNKNOWN,,[高清视频],6,明星娱乐,667,娱乐八卦,2377,明星八卦\n"
)
COUNTS = ["show_cnt", "play_cnt", "play_progress", "collect_cnt"]
DAILY = (
    "video_id,date,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,video_width,"
    "video_height,music_id,video_tag_id,video_tag_name," + ",".join(COUNTS) + "\n"
    "1,20200706,7,NORMAL,2020-03-30,ShortImport,private,999.0,720,1280,3350323409,55,later,9,9,0.9,\n"
    "1,20200705,7,NORMAL,2020-03-30,ShortImport,public,,720,1280,3350323409,-124,,1,1,0.1,\n"
    "2,20200705.0,8,AD,2020-04-01,LongImport,public,2000.0,576,1024,9223372036854775807,841,建筑,1,1,0.1,1\n"
    "3,20200705,9,NORMAL,2020-07-05,UNKNOWN,public,,720,1280,1,-124,,1,1,0.1,\n"
)
FILES = {
    "big_matrix.csv": BIG,
    "small_matrix.csv": SMALL,
    "user_features.csv": USERS,
    "social_network.csv": SOCIAL,
    "item_categories.csv": CATEGORIES,
    "kuairec_caption_category.csv": CAPTIONS,
    "item_daily_features.csv": DAILY,
}


def write(folder: Path, **changes: str | None) -> Path:
    """Write the tiny set; `big_matrix=...` replaces a file, None leaves it out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        content = changes.get(name.removesuffix(".csv"), text)
        if content is not None:
            (folder / name).write_bytes(content.encode())
    return folder


def zipped(path: Path, prefix: str, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("__MACOSX/" + prefix + "._big_matrix.csv", b"\0\5\26\7")
        for name, text in FILES.items():
            archive.writestr(prefix + name, text.encode())
    return path


def layout(kind: str, tmp: Path) -> Path:
    if kind.startswith("zip"):
        path = zipped(
            tmp / "KuaiRec.zip", {"zip": "KuaiRec 2.0/data/", "zip-old": "data/", "zip-flat": ""}[kind]
        )
        return path
    if kind == "folder-of-zip":
        zipped(tmp / "KuaiRec.zip", "KuaiRec 2.0/data/")
        return tmp
    inner, given = {
        "data": ("KuaiRec 2.0/data", "KuaiRec 2.0/data"),
        "parent": ("KuaiRec 2.0/data", "KuaiRec 2.0"),
        "grandparent": ("KuaiRec 2.0/data", "."),
        "extracted": ("KuaiRec/KuaiRec 2.0/data", "."),
        "old": ("data", "."),
        "flat": (".", "."),
    }[kind]
    write(tmp / inner)
    return tmp / given


LAYOUTS = (
    "zip",
    "zip-old",
    "zip-flat",
    "folder-of-zip",
    "data",
    "parent",
    "grandparent",
    "extracted",
    "old",
    "flat",
)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_layout_gives_the_same_dataset(kind: str, tmp_path: Path) -> None:
    data = kuairec.read_kuairec(layout(kind, tmp_path))

    assert data.schema == kuairec.SCHEMA
    assert data.interactions.select("user_id", "video_id", "watch_ratio").rows() == [
        (0, 1, 0.5),
        (0, 2, 1.5),
        (0, 2, 1.5),
        (1, 2, 573.4571428571429),
    ]
    assert data.users.height == data.items.height == 3
    assert any("dropped 1 duplicate row," in note for note in data.notes)
    assert any("2 rows of 1 event (same user, item, timestamp)" in note for note in data.notes)


def test_matrix_keeps_every_row_in_compact_columns(tmp_path: Path) -> None:
    source = write(tmp_path)

    big = kuairec.read_matrix(source, "big")

    assert dict(big.schema) == {
        "user_id": pl.Int32(),
        "video_id": pl.Int32(),
        "video_duration": pl.Int32(),
        "timestamp": pl.Float64(),
        "watch_ratio": pl.Float64(),
    }
    assert big.height == 6
    assert big["timestamp"][0] == 1593878903.438
    assert kuairec.read_matrix(source, "big_matrix.csv").equals(big)


def test_small_matrix_keeps_its_untimed_rows(tmp_path: Path) -> None:
    data = kuairec.read_kuairec(write(tmp_path), "small")

    assert data.interactions["watch_ratio"].to_list() == [0.7, 0.0, 0.0, 2.0]
    assert data.interactions["timestamp"].to_list() == [1593898068.378, None, None, 1593898080.0]
    assert any("kept 2 rows of small_matrix.csv without a timestamp" in note for note in data.notes)


def test_repeats_can_be_kept(tmp_path: Path) -> None:
    assert len(kuairec.read_kuairec(write(tmp_path), unique=False)) == 6


def test_users(tmp_path: Path) -> None:
    users = kuairec.read_users(write(tmp_path))

    assert users["user_active_degree"].to_list() == ["high_active", None, "full_active"]
    assert users["follow_user_num_range"].to_list() == [1, 6, 7]
    assert users["fans_user_num_range"].to_list() == [0, 6, None]  # "odd" is in no list
    assert users["friend_user_num_range"].to_list() == [0, 1, 6]
    assert users["register_days_range"].to_list() == [3, 6, 0]
    assert users["onehot_feat4"].to_list() == [1, None, None]
    assert users["friend_list"].to_list() == [[2], [], [0, 1]]
    kinds = kuairec.SCHEMA.users
    assert set(kinds) == set(users.columns) - {"user_id"}
    assert all(kinds[f"onehot_feat{i}"] == "category" for i in range(18))


def test_a_range_that_is_not_in_the_list_is_told(tmp_path: Path) -> None:
    notes = kuairec.read_kuairec(write(tmp_path)).notes

    assert [n for n in notes if "fans_user_num_range" in n] == [
        "fans_user_num_range of 1 user is not in the published list; read as missing"
    ]
    assert not [n for n in notes if "follow_user_num_range" in n]


def test_items(tmp_path: Path) -> None:
    items = kuairec.read_items(write(tmp_path))

    assert items["video_id"].to_list() == [1, 2, 3]
    assert items["feat"].to_list() == [[8], [27, 9], [1, 2, 3, 4]]
    assert items["caption"].to_list() == ["一段王朝！", '逗号, 和"引号"', None]
    assert items["manual_cover_text"].to_list() == [None, "封面", None]
    assert items["topic_tag"].to_list() == [[], ["上热门", "作品推广"], ["高清视频"]]
    assert items["first_level_category_id"].to_list() == [8, None, 6]
    assert items["third_level_category_name"].to_list() == [None, None, "明星八卦"]
    # From the earliest day that has it, which is not the first row.
    assert items["video_duration"].to_list() == [999.0, 2000.0, None]
    assert items["video_tag_id"].to_list() == [55, 841, None]
    assert items["music_id"].to_list() == [3350323409, 9223372036854775807, 1]
    assert items["upload_dt"].to_list() == [date(2020, 3, 30), date(2020, 4, 1), date(2020, 7, 5)]
    assert items["upload_type"].to_list() == ["ShortImport", "LongImport", None]
    assert items["video_type"].to_list() == ["NORMAL", "AD", "NORMAL"]


def test_no_column_that_changes_by_day_is_a_feature() -> None:
    assert not {"visible_status", *COUNTS} & {*kuairec.SCHEMA.items, *kuairec.SCHEMA.users}


def test_daily_counts_are_known_when_their_day_is_over(tmp_path: Path) -> None:
    schema = kuairec.SCHEMA.model_copy(update={"daily": {"play_cnt": kind_of("log_number")}})
    data = kuairec.read_kuairec(write(tmp_path), "small", schema=schema)
    over = [datetime(2020, 7, day, tzinfo=UTC).timestamp() for day in (6, 7)]
    assert data.items["play_cnt"].to_list() == [
        [{"known": over[0], "value": 1.0}, {"known": over[1], "value": 9.0}],
        [{"known": over[0], "value": 1.0}],
        [{"known": over[0], "value": 1.0}],
    ]
    found = ItemStatistics.of(data, data.items, Vocabulary(data.items["video_id"]))
    assert found is not None
    # the events are of 2020-07-05, of which nothing was known on that day
    assert not found.now.any()
    with pytest.raises(DataError, match="shown_cnt"):
        kuairec.read_kuairec(
            tmp_path, schema=schema.model_copy(update={"daily": {"shown_cnt": kind_of("number")}})
        )


def test_a_config_adds_daily_counts(tmp_path: Path) -> None:
    added = ["data.dir=" + str(write(tmp_path)), "schema.daily.play_cnt=log_number", "schema.recent_days=[1]"]
    raw = read_raw(load_config("kuairec-ranking", added))
    for part in raw.values():
        assert part.schema.daily == {"play_cnt": "log_number"}
        assert part.schema.items == kuairec.SCHEMA.items
        assert part.items["play_cnt"].list.len().to_list() == [2, 1, 1]


def test_daily_rows_out_of_order_by_day_give_the_earliest_value(tmp_path: Path) -> None:
    head, *rows = DAILY.splitlines(keepends=True)
    early = rows[1].replace(",,720", ",111.0,720")  # 2020-07-05 now has a duration of its own
    items = kuairec.read_items(
        write(tmp_path, item_daily_features=head + rows[0] + early + rows[2] + rows[3])
    )

    assert items["video_duration"][0] == 111.0


@pytest.mark.parametrize("name", sorted(set(FILES) - {"small_matrix.csv"}))
def test_a_missing_file_is_named_with_where_it_was_looked_for(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "KuaiRec 2.0" / "data", **{name.removesuffix(".csv"): None})

    with pytest.raises(DataError) as caught:
        kuairec.read_kuairec(tmp_path)

    message = str(caught.value)
    assert f"missing file '{name}'" in message
    assert str(source) in message
    assert "twotower fetch kuairec" in message


def test_no_folder() -> None:
    with pytest.raises(DataError, match=r"no folder or zip 'nowhere'.*twotower fetch kuairec"):
        kuairec.read_matrix("nowhere")


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.95])
def test_truncated_zip(keep: float, tmp_path: Path) -> None:
    path = zipped(tmp_path / "KuaiRec.zip", "KuaiRec 2.0/data/")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])

    with pytest.raises(DataError, match="not a complete zip file"):
        kuairec.read_kuairec(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damaged_zip(compression: int, tmp_path: Path) -> None:
    path = zipped(tmp_path / "KuaiRec.zip", "KuaiRec 2.0/data/", compression=compression)
    whole = bytearray(path.read_bytes())
    start = whole.index(b"KuaiRec 2.0/data/big_matrix.csv") + 50
    whole[start : start + 20] = b"\x31" * 20
    path.write_bytes(bytes(whole))

    with pytest.raises(DataError, match=r"not a complete zip file|data row"):
        kuairec.read_matrix(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,1,500,1000,a,20200705,1.0,0.5\n", r"data row 7: 'user_id' must be Int32, got 'x'"),
        ("0,1,500,1000,a,20200705,now,0.5\n", r"data row 7: 'timestamp' must be Float64, got 'now'"),
        ("0,1,500,1000,a,20200705\n", r"data row 7: 'watch_ratio' must not be empty"),
        ("0,1,500,1000,a,20200705,1.0,\n", r"data row 7: 'watch_ratio' must not be empty"),
        (
            "0,1,500,1000,a,20200705,1.0,0.5,9\n",
            r"data row 7: the header has 8 columns, and the row has more cells, next '9'",
        ),
    ],
)
def test_a_bad_cell_is_named(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"big_matrix\.csv.*" + message):
        kuairec.read_matrix(write(tmp_path, big_matrix=BIG + row))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    source = write(tmp_path, big_matrix=BIG.replace("watch_ratio", "watch_ratios"))

    with pytest.raises(DataError, match=r"must have the column 'watch_ratio'.*Did you mean 'watch_ratios'"):
        kuairec.read_matrix(source)


@pytest.mark.parametrize(
    ("name", "row", "ids"),
    [
        ("user_features", USERS.splitlines()[1], "user_id 0"),
        ("social_network", "0,[1]", "user_id 0"),
        ("item_categories", "2,[1]", "video_id 2"),
        ("kuairec_caption_category", CAPTIONS.split("\n")[1], "video_id 1"),
    ],
)
def test_two_rows_an_id_are_an_error(name: str, row: str, ids: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=rf"{name}\.csv: an id must have at most one row, and {ids} has several"
    ):
        kuairec.read_kuairec(write(tmp_path, **{name: FILES[name + ".csv"] + row + "\n"}))


@pytest.mark.parametrize("block", [1, 7, 60, 100, 1 << 20])
def test_blocks_of_any_size_give_the_same_table(block: int, tmp_path: Path) -> None:
    file = FoundFile(write(tmp_path, big_matrix=BIG.rstrip("\n")) / "big_matrix.csv")
    columns = {"watch_ratio": pl.Float64, "user_id": pl.Int32}

    table = read_columns(file, columns, block=block)

    assert table.columns == ["watch_ratio", "user_id"]
    assert table.rows() == [(0.5, 0), (1.5, 0), (1.5, 0), (0.5, 0), (1.5, 0), (573.4571428571429, 1)]


def test_error_rows_count_through_the_blocks(tmp_path: Path) -> None:
    file = FoundFile(write(tmp_path, big_matrix=BIG + "0,1,5,1,a,b,1.0,?\n") / "big_matrix.csv")

    with pytest.raises(DataError, match=r"data row 7: 'watch_ratio' must be Float64, got '\?'"):
        read_columns(file, {"watch_ratio": pl.Float64}, block=100)


def test_header_only_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n")
    assert read_columns(FoundFile(path), {"a": pl.Int32}).rows() == []
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4.0\r\n")
    assert read_columns(FoundFile(path), {"b": pl.Int32, "a": pl.Int32}).rows() == [(2, 1), (4, 3)]


def test_an_integer_with_a_fraction_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n20200705.0\n20200705.5\n")

    with pytest.raises(DataError, match=r"data row 2: 'a' must be Int32, got '20200705\.5'"):
        read_columns(FoundFile(path), {"a": pl.Int32})


def test_source_prefers_the_folder_to_the_zip(tmp_path: Path) -> None:
    zipped(tmp_path / "KuaiRec.zip", "KuaiRec 2.0/data/")
    write(tmp_path / "data")
    source = Source(tmp_path, folders=("data",), archives=("KuaiRec*.zip",), fetch="kuairec")

    assert source.get("big_matrix.csv") == FoundFile(tmp_path / "data" / "big_matrix.csv")


# -- the real side files --


@needs_real
@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("user_features.csv", "c03ce5c6e90c50407b45585bde983db3079492346f7fa676d860777abfd783f4"),
        ("item_categories.csv", "b8b8330387cd69659ff6b35b9b69bb35303196a5264d5d7743e92ae8e19cd15e"),
        ("kuairec_caption_category.csv", "08f6ec40059c5a7ecdcebf615d080d9cf8f59f9497f6d66e8d5ccabdc7cab2d9"),
    ],
)
def test_real_files_are_the_published_ones(name: str, sha256: str) -> None:
    assert hashlib.sha256((REAL / name).read_bytes()).hexdigest() == sha256


@needs_real
def test_real_users() -> None:
    users = kuairec.read_user_features(REAL)

    assert users["user_id"].to_list() == list(range(7176))
    assert Counter(users["user_active_degree"]) == {
        "full_active": 6092,
        "high_active": 938,
        "middle_active": 28,
        None: 118,
    }
    cardinalities = [users[f"onehot_feat{i}"].drop_nulls().n_unique() for i in range(12)]
    assert cardinalities == [2, 8, 30, 1076, 12, 10, 3, 47, 340, 7, 5, 3]
    empty = {i: users[f"onehot_feat{i}"].null_count() for i in range(18)}
    assert {i: n for i, n in empty.items() if n} == {4: 201, 12: 77, 13: 75, 14: 75, 15: 74, 16: 74, 17: 74}
    assert users["follow_user_num"].max() == 2100
    assert users["fans_user_num"].max() == 11401
    for column in kuairec.RANGES:
        assert users[column].null_count() == 0
        # The order written by hand is that of the numbers. (Counted on another day, they overlap a little.)
        number = column.removesuffix("_range")
        medians = users.group_by(column).agg(pl.median(number)).sort(column)
        assert medians[column].to_list() == list(range(len(kuairec.RANGES[column])))
        assert medians[number].is_sorted(), column


@needs_real
def test_real_items() -> None:
    items = kuairec.read_item_content(REAL)

    assert items["video_id"].to_list() == list(range(10728))
    assert Counter(items["feat"].list.len()) == {1: 8970, 2: 1562, 3: 185, 4: 11}
    counts = Counter(items["feat"].explode())
    assert [counts[tag] for tag in range(31)] == [
        *(24, 463, 216, 104, 164, 964, 912, 503, 1112, 696, 170, 2027, 534, 245, 63, 374, 214, 350, 131, 686),
        *(265, 29, 20, 39, 12, 468, 490, 31, 1360, 5, 22),
    ]
    assert items["caption"].null_count() == 1355 + 1  # one is a space
    assert items["manual_cover_text"].null_count() == 6694
    for level, distinct, unknown in (("first", 39, 40), ("second", 138, 3583), ("third", 220, 6832)):
        ids, names = items[f"{level}_level_category_id"], items[f"{level}_level_category_name"]
        assert ids.n_unique() == distinct  # the missing one counted, as published
        assert ids.null_count() == names.null_count() == unknown
    by_id = dict(items.select("video_id", "caption").iter_rows())
    assert by_id[1378] == "张凯教练：“我希望我们能开启一段王朝！”"
    assert by_id[1613] == "#张公案\xa0的双男主#宋威龙\xa0#井柏然\xa0的微妙关系，你绕明白了吗？~"
    assert by_id[5910] == "我不会离开你 就像数学题一样 说不会就是不会"
    assert by_id[6331] == "这才是每个小女生心中的豪车！"
    topics = dict(items.select("video_id", "topic_tag").iter_rows())
    assert topics[0] == []
    assert topics[1613] == ["井柏然", "宋威龙", "张公案"]
