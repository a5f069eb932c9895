"""MovieLens in its three published layouts, and as Parquet tables; recognised by the names of the files.

========  =========================================  ==================================
layout    files                                      published as
========  =========================================  ==================================
100k      u.data, u.user, u.item                     ml-100k
1m        ratings.dat, users.dat, movies.dat         ml-1m
csv       ratings.csv, movies.csv (no users)         latest-small, 20m, 25m and later
tables    interactions, users and items .parquet     prepared elsewhere
========  =========================================  ==================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from twotower.config.schema import Schema
from twotower.data.dataset import Dataset
from twotower.datasets.blocks import Dtypes, read_columns
from twotower.datasets.source import FoundFile, Source
from twotower.errors import ConfigError, DataError, nearest

LAYOUTS: Final = {
    "100k": ("u.data", "u.user", "u.item"),
    "1m": ("ratings.dat", "users.dat", "movies.dat"),
    "csv": ("ratings.csv", "movies.csv"),
    "tables": ("interactions.parquet", "users.parquet", "items.parquet"),
}
"""The files that identify a layout."""

_GENRES = (
    "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir Horror "
    "Musical Mystery Romance Sci-Fi Thriller War Western"
)
GENRES_100K: Final = tuple(_GENRES.split())
"""The flags at the end of a row of u.item, in order (``u.genre``)."""

_ITEMS: Final = {"title": "text", "release_year": "number", "genres": "categories"}
_USERS: Final = {"age": "number", **dict.fromkeys(("gender", "occupation", "zip_region"), "category")}
_RATING_COLUMNS: Dtypes = {
    "user_id": pl.Int32,
    "item_id": pl.Int32,
    "rating": pl.Float64,
    "timestamp": pl.Int64,
}
_REQUIRED = ("user_id", "item_id", "userId", "movieId", "rating")
# Two ways to say that there is no genre: the flag "unknown", and the words of the later layout.
_NO_GENRE = ("unknown", "(no genres listed)", "")
# "(1995)", "(1996-2000)", sometimes followed by "(V)" for video, and in the later files by a space.
_YEAR = r"\((\d{4})(?:[-–]\s?\d{0,4})?\)\s*(?:\(T?V\))?\s*$"


def schema(layout: str) -> Schema:
    """Return the schema of a layout."""
    users: dict[str, str] = {} if layout == "csv" else dict(_USERS)
    if layout == "1m":
        # The ages of 1M are seven brackets, named by their lower bound.
        users["age"] = "category"
    return Schema(
        user="user_id",
        item="item_id",
        label="rating",
        timestamp="timestamp",
        users=users,
        items=_ITEMS,
        display=("title", "release_year", "genres"),
    )


def read_movielens(source: str | Path, layout: str | None = None) -> Dataset:
    """Read a MovieLens set as a dataset.

    The release year is removed from the title. The first two characters of a zip code are kept as
    ``zip_region``: there are nearly as many full codes as users.

    Args:
        source: the zip, the folder with the files, or a folder that contains either.
        layout: one of `LAYOUTS`, for a folder with several data sets; detected by default.

    Raises:
        DataError: no layout is complete, or a cell is of the wrong kind.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ConfigError(
            f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.{nearest(layout, LAYOUTS)}"
        )
    files = _files(source, layout or "100k")
    for name in [layout] if layout else LAYOUTS:
        found = _complete(files, LAYOUTS[name])
        if found:
            return _READERS[name](*found)
    wanted = "; ".join(", ".join(LAYOUTS[name]) for name in ([layout] if layout else LAYOUTS))
    looked = ", ".join(str(place) for place in files.places)
    raise DataError(
        f"no MovieLens files found: all files of one layout ({wanted}) must be in one folder, looked in "
        f"{looked}. Get them with `twotower fetch movielens-100k`"
    )


def layout_of(source: str | Path) -> str | None:
    """Return the published layout whose files are all there, or None; Parquet tables don't identify one."""
    files = _files(source, "100k")
    for name in ("100k", "1m", "csv"):
        found = _complete(files, LAYOUTS[name])
        if found and (name != "csv" or b"movieId" in found[1].read()[:200]):
            return name
    return None


def _files(source: str | Path, layout: str) -> Source:
    return Source(source, folders=("ml-*",), archives=("ml-*.zip",), fetch=f"movielens-{layout}")


def _complete(files: Source, names: tuple[str, ...]) -> list[FoundFile] | None:
    for place in files.places:
        found = [file for name in names if (file := place.find(name))]
        if len(found) == len(names):
            return found
    return None


def _read(file: FoundFile, columns: Dtypes, header: Sequence[str] | None = (), **how: str) -> pl.DataFrame:
    """Read columns of a text file, of which an id or a rating is never empty.

    Args:
        file: the file.
        columns: names and dtypes.
        header: names of all columns of a file that has none; by default those that are read.
        how: separator and encoding, for `read_columns`.
    """
    required = [name for name in columns if name in _REQUIRED]
    names = None if header is None else header or tuple(columns)
    return read_columns(file, columns, required=required, header=names, quoted=header is None, **how)  # type: ignore[arg-type]


def _read_100k(ratings: FoundFile, people: FoundFile, movies: FoundFile) -> Dataset:
    interactions = _read(ratings, _RATING_COLUMNS, separator="\t")
    texts = dict.fromkeys(("gender", "occupation", "zip_code"), pl.String)
    users = _read(people, {"user_id": pl.Int32, "age": pl.Int16, **texts}, separator="|")
    columns: Dtypes = {"item_id": pl.Int32, "title": pl.String, "release_date": pl.String}
    header = ("item_id", "title", "release_date", "video_release_date", "url", *GENRES_100K)
    flags = dict.fromkeys(GENRES_100K, pl.Int8)
    items = _read(movies, {**columns, **flags}, header, separator="|", encoding="latin-1")
    items = items.select(
        "item_id",
        *_title_and_year(pl.col("release_date").str.extract(r"(\d{4})$")),
        pl.concat_list(
            pl.when(pl.col(genre) == 1).then(pl.lit(genre)) for genre in GENRES_100K if genre not in _NO_GENRE
        )
        .list.drop_nulls()
        .alias("genres"),
    )
    return _dataset("100k", interactions, (ratings, people, movies), _with_region(users), items)


def _read_1m(ratings: FoundFile, people: FoundFile, movies: FoundFile) -> Dataset:
    numbers: Dtypes = {"age": pl.Int16, "occupation": pl.Int16}
    of_users: Dtypes = {"user_id": pl.Int32, "gender": pl.String, **numbers, "zip_code": pl.String}
    of_items: Dtypes = {"item_id": pl.Int32, "title": pl.String, "genres": pl.String}
    interactions, users, items = (
        _read(file, columns, separator="::", encoding="latin-1")
        for file, columns in ((ratings, _RATING_COLUMNS), (people, of_users), (movies, of_items))
    )
    return _dataset(
        "1m", interactions, (ratings, people, movies), _with_region(users), _with_title_and_genres(items)
    )


def _read_csv(ratings: FoundFile, movies: FoundFile) -> Dataset:
    names = {"userId": "user_id", "movieId": "item_id"}
    of_ratings: Dtypes = {
        "userId": pl.Int32,
        "movieId": pl.Int32,
        "rating": pl.Float64,
        "timestamp": pl.Int64,
    }
    of_items: Dtypes = {"movieId": pl.Int32, "title": pl.String, "genres": pl.String}
    interactions = _read(ratings, of_ratings, None).rename(names)
    items = _read(movies, of_items, None).rename({"movieId": "item_id"})
    return _dataset("csv", interactions, (ratings, None, movies), None, _with_title_and_genres(items))


def _read_tables(ratings: FoundFile, people: FoundFile, movies: FoundFile) -> Dataset:
    interactions, users, items = (_parquet(file) for file in (ratings, people, movies))
    if "zip_code" in users.columns:
        users = _with_region(users)
    if items.schema.get("genres") == pl.List(pl.String):
        items = items.with_columns(_without_no_genre())
    return _dataset("tables", interactions, (ratings, people, movies), users, items)


_READERS: Final[dict[str, Callable[..., Dataset]]] = {
    "100k": _read_100k,
    "1m": _read_1m,
    "csv": _read_csv,
    "tables": _read_tables,
}


def _dataset(
    layout: str,
    interactions: pl.DataFrame,
    files: tuple[FoundFile, FoundFile | None, FoundFile],
    users: pl.DataFrame | None,
    items: pl.DataFrame,
) -> Dataset:
    names = ("interactions", "users", "items")
    sources = {name: str(file) for name, file in zip(names, files, strict=True) if file is not None}
    return Dataset.of(interactions, users, items, schema=schema(layout), sources=sources)


def _parquet(file: FoundFile) -> pl.DataFrame:
    try:
        return pl.read_parquet(file.read())
    except pl.exceptions.PolarsError as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(f"{file} is not a complete Parquet file ({reason}); get it again") from None


def _with_region(users: pl.DataFrame) -> pl.DataFrame:
    return users.with_columns(pl.col("zip_code").str.slice(0, 2).alias("zip_region")).drop("zip_code")


def _with_title_and_genres(items: pl.DataFrame) -> pl.DataFrame:
    return items.select(
        "item_id",
        *_title_and_year(pl.lit(None, pl.String)),
        pl.col("genres").fill_null("").str.split("|").pipe(_without_no_genre),
    )


def _without_no_genre(genres: pl.Expr | None = None) -> pl.Expr:
    genres = pl.col("genres") if genres is None else genres
    return genres.list.eval(pl.element().filter(~pl.element().is_in(_NO_GENRE)))


def _title_and_year(other_year: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Split ``Toy Story (1995)`` into title and year; without a year in the title, ``other_year`` is used."""
    title = pl.col("title")
    year = pl.coalesce(title.str.extract(_YEAR), other_year).cast(pl.Int16)
    return title.str.replace(_YEAR, "").str.strip_chars(), year.alias("release_year")
