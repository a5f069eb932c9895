"""MovieLens: handmade files in each published layout, in a folder and in a zip."""

from __future__ import annotations

import zipfile
from pathlib import Path

import polars as pl
import pytest

from twotower.datasets.movielens import LAYOUTS, read_movielens, schema
from twotower.errors import ConfigError, DataError

SHARED = Path(__file__).parents[2].parent / "shared"
ML_100K = SHARED / "data" / "ml-100k"


def flags(*on: int) -> str:
    return "|".join("1" if i in on else "0" for i in range(19))


FILES = {
    "100k": {
        "u.data": "196\t242\t3\t881250949\n186\t1\t4\t891717742\n",
        "u.user": "186|39|F|executive|00000\n196|49|M|writer|V3N4P\n",
        "u.item": (
            f"1|Toy Story (1995)|01-Jan-1995||http://x?Toy%20Story%20(1995)|{flags(3, 4, 5)}\n"
            f'242|Misérables, "Les" (1995)|01-Jan-1995||http://x|{flags(8, 17)}\n'
            f"267|unknown||||{flags(0)}\n"
            f"1412|Land Before Time III (1995) (V)|01-Jan-1996||http://x|{flags(3, 4)}\n"
            f"9|Dated elsewhere|23-Feb-1994||http://x|{flags()}\n"
        ),
    },
    "1m": {
        "ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072-1234\n",
        "movies.dat": (
            "661::James and the Giant Peach (1996)::Animation|Children's|Musical\n"
            '1193::Café: One\'s "Nest" (1975)::Drama\n'
        ),
    },
    "csv": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n2,11,0.5,1445714835\n",
        "movies.csv": (
            "movieId,title,genres\n"
            "1,Toy Story (1995),Adventure|Animation|Children\n"
            '11,"American President, The (1995) ",Comedy|Drama|Romance\n'
            "12,Doctor Who (2005-),Sci-Fi\n"
            "13,Pirates of Silicon Valley,(no genres listed)\n"
            '14,"Über ""Alles"" (2001–2003)",Drama\n'
        ),
    },
}
ENCODING = {"100k": "latin-1", "1m": "latin-1", "csv": "utf-8"}
ARCHIVE = {"100k": "ml-100k", "1m": "ml-1m", "csv": "ml-latest-small"}


def write(folder: Path, layout: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in FILES[layout].items():
        (folder / name).write_bytes(text.encode(ENCODING[layout]))
    return folder


def write_zip(folder: Path, layout: str) -> Path:
    path = folder / f"{ARCHIVE[layout]}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in FILES[layout].items():
            archive.writestr(f"{ARCHIVE[layout]}/{name}", text.encode(ENCODING[layout]))
    return path


def write_tables(folder: Path) -> Path:
    pl.DataFrame(
        {"user_id": [1, 2], "item_id": [5, 6], "rating": [3.0, 4.0], "timestamp": [881250949, 891717742]}
    ).write_parquet(folder / "interactions.parquet")
    pl.DataFrame(
        {
            "user_id": [1, 2],
            "age": [24, 53],
            "gender": ["M", "F"],
            "occupation": ["technician", "other"],
            "zip_code": ["85711", "94043"],
        }
    ).write_parquet(folder / "users.parquet")
    pl.DataFrame(
        {
            "item_id": [5, 6],
            "title": ["Toy Story", "unknown"],
            "release_year": [1995, None],
            "genres": [["Animation"], ["unknown"]],
        }
    ).write_parquet(folder / "items.parquet")
    return folder


@pytest.mark.parametrize("layout", FILES)
@pytest.mark.parametrize("place", ["folder", "parent", "zip", "folder-of-zip"])
def test_a_layout_is_known_by_its_files_wherever_they_are(layout: str, place: str, tmp_path: Path) -> None:
    if place == "folder":
        source = write(tmp_path, layout)
    elif place == "parent":
        source = write(tmp_path / ARCHIVE[layout], layout).parent
    else:
        source = write_zip(tmp_path, layout)
        source = source if place == "zip" else tmp_path

    data = read_movielens(source)

    assert data.schema == schema(layout)
    assert len(data) == 2
    assert data.schema.display == ("title", "release_year", "genres")


def test_100k(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path, "100k"))

    assert data.interactions.select("user_id", "item_id", "rating", "timestamp").rows() == [
        (196, 242, 3.0, 881250949),
        (186, 1, 4.0, 891717742),
    ]
    assert data.users.rows() == [(186, 39, "F", "executive", "00"), (196, 49, "M", "writer", "V3")]
    assert data.schema.users["age"] == "number"
    assert data.items.select("item_id", "title", "release_year", "genres").rows() == [
        (1, "Toy Story", 1995, ["Animation", "Children's", "Comedy"]),
        (242, 'Misérables, "Les"', 1995, ["Drama", "War"]),
        (267, "unknown", None, []),
        (1412, "Land Before Time III", 1995, ["Animation", "Children's"]),
        (9, "Dated elsewhere", 1994, []),
    ]


def test_1m(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path, "1m"))

    assert data.interactions["rating"].to_list() == [5.0, 3.0]
    assert data.users.select("user_id", "gender", "age", "occupation", "zip_region").rows() == [
        (1, "F", 1, 10, "48"),
        (2, "M", 56, 16, "70"),
    ]
    assert data.schema.users["age"] == "category"
    assert data.items.select("item_id", "title", "release_year", "genres").rows() == [
        (661, "James and the Giant Peach", 1996, ["Animation", "Children's", "Musical"]),
        (1193, 'Café: One\'s "Nest"', 1975, ["Drama"]),
    ]


def test_csv(tmp_path: Path) -> None:
    data = read_movielens(write(tmp_path, "csv"))

    assert data.interactions["rating"].to_list() == [4.0, 0.5]
    assert data.users.columns == ["user_id"]
    assert data.items.select("item_id", "title", "release_year", "genres").rows() == [
        (1, "Toy Story", 1995, ["Adventure", "Animation", "Children"]),
        (11, "American President, The", 1995, ["Comedy", "Drama", "Romance"]),
        (12, "Doctor Who", 2005, ["Sci-Fi"]),
        (13, "Pirates of Silicon Valley", None, []),
        (14, 'Über "Alles"', 2001, ["Drama"]),
    ]


def test_tables(tmp_path: Path) -> None:
    data = read_movielens(write_tables(tmp_path))

    assert data.users["zip_region"].to_list() == ["85", "94"]
    assert data.items["genres"].to_list() == [["Animation"], []]


def test_a_layout_can_be_picked_among_several(tmp_path: Path) -> None:
    for layout in FILES:
        write_zip(tmp_path, layout)

    assert read_movielens(tmp_path, "1m").items.height == 2
    assert read_movielens(tmp_path, "csv").items.height == 5
    assert read_movielens(tmp_path, "100k").items.height == 5


@pytest.mark.parametrize("layout", FILES)
def test_a_missing_file_lists_what_is_needed(layout: str, tmp_path: Path) -> None:
    write(tmp_path, layout)
    (tmp_path / LAYOUTS[layout][-1]).unlink()

    with pytest.raises(DataError, match="no MovieLens files") as caught:
        read_movielens(tmp_path)

    assert ", ".join(LAYOUTS[layout]) in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_unknown_layout() -> None:
    with pytest.raises(ConfigError, match=r"got '10k'\. Did you mean '100k'\?"):
        read_movielens(".", "10k")


def test_a_bad_cell_is_named(tmp_path: Path) -> None:
    write(tmp_path, "100k")
    with (tmp_path / "u.data").open("a") as stream:
        stream.write("196\t302\tgood\t881250949\n")

    with pytest.raises(DataError, match=r"u\.data, data row 3: 'rating' must be Float64, got 'good'"):
        read_movielens(tmp_path)


def test_a_broken_parquet_file(tmp_path: Path) -> None:
    write_tables(tmp_path)
    (tmp_path / "users.parquet").write_bytes(b"PAR1 not really")

    with pytest.raises(DataError, match=r"users\.parquet is not a complete Parquet file"):
        read_movielens(tmp_path)


@pytest.mark.skipif(not ML_100K.is_dir(), reason="the tables are not here")
def test_real_tables() -> None:
    data = read_movielens(ML_100K)

    assert (len(data), data.users.height, data.items.height) == (100_000, 943, 1682)
    assert data.items["release_year"].null_count() == 2
    assert data.users["zip_region"].null_count() == 0
    assert data.notes == ()
