"""Batch work with a finished run: recommendations for everyone, scores for a file of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from twotower.core.atomic import check_file, replacing
from twotower.core.urls import is_url, without_secrets
from twotower.data.remote import Location, RemoteFile, remote
from twotower.data.tables import read_table
from twotower.errors import ConfigError, DataError, nearest
from twotower.recommender import Recommender
from twotower.recommender.list_stages import Diversity
from twotower.training.engine import Engine

SUFFIXES = (".parquet", ".csv")
"""File formats of output tables."""

Progress = Callable[[int, int], None]
"""Called with the number of users done and the total."""


def recommend_all(
    recommender: Recommender,
    out: str | Path,
    k: int | None = None,
    *,
    exclude_seen: bool | None = None,
    allow: pl.Series | None = None,
    deny: pl.Series | None = None,
    diversity: Diversity = None,
    strict: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the top k of every known user and return the number of rows.

    The columns are always ``user_id, item_id, rank, score``. Users are written block by block, so memory use
    does not grow with their number; the file appears when it is complete.

    Args:
        recommender: a trained model.
        out: a .parquet or .csv file, perhaps at an address such as ``s3://bucket/lists.parquet``.
        k: items per user; see `Recommender.recommend`.
        exclude_seen: leave out items in the user's training set; None for the setting of the run.
        allow: ids of the only items to recommend; None for all.
        deny: ids of items not to recommend.
        diversity: rules for each list; see `Recommender.recommend`.
        strict: whether an unknown item in these is an error.
        engine: where it is done; None for this process. The file is written here.
        progress: called after each block.

    Raises:
        ConfigError: k is not a positive whole number, or the suffix is not supported.
        DataError: no known item is allowed.
        BundleError: the file can't be written.
    """
    path = _writable(out)
    rows = 0

    def renamed() -> Iterator[pl.DataFrame]:
        nonlocal rows
        done = 0
        lists = recommender.recommend_all(
            k,
            exclude_seen=exclude_seen,
            allow=allow,
            deny=deny,
            diversity=diversity,
            strict=strict,
            engine=engine,
        )
        for block in lists:
            user, item, rank, score = block.columns[:4]
            rows += block.height
            done += block.get_column(user).n_unique()
            if progress is not None:
                progress(done, len(recommender.user_ids))
            yield block.select(user_id=user, item_id=item, rank=rank, score=score)

    blocks = renamed()
    first = next(blocks)  # also checks k before any file is written
    _sink(chain([first], blocks), first.schema, path)
    return rows


def read_items(recommender: Recommender, path: str | Path) -> pl.Series:
    """Read item ids from a CSV or Parquet table; the column has the name that the run's data uses.

    Raises:
        DataError: the table does not exist, or lacks the column.
    """
    frame, column = read_pairs(recommender, path), recommender.encoder.schema.item
    if column not in frame.columns:
        raise DataError(
            f"a table of items needs the column {column!r}; {path} has {', '.join(frame.columns)}."
            f"{nearest(column, frame.columns)}"
        )
    return frame.get_column(column).unique(maintain_order=True)


@dataclass(frozen=True)
class Scored:
    """Counts of a scored table.

    Attributes:
        rows: number of rows in the table.
        unknown: number of pairs with an unknown user or item, which get null.
        column: name of the added column.
    """

    rows: int
    unknown: int
    column: str

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as a dict for JSON."""
        return asdict(self)


def score_file(
    recommender: Recommender, pairs: str | Path, out: str | Path, *, strict: bool = False
) -> Scored:
    """Add the model's predictions or scores to a table of (user, item) pairs; see `Recommender.score`.

    Args:
        recommender: a trained model.
        pairs: a CSV or Parquet table with the id columns of the run's data; other columns are kept.
        out: a .parquet or .csv file, perhaps at an address.
        strict: whether an unknown user or item is an error.

    Raises:
        ConfigError, DataError: ``out`` has an unsupported suffix or is the table of pairs; the table is
            invalid, or with ``strict`` has an unknown id.
        BundleError: the file can't be written.
    """
    path = _writable(out)
    if _same(path, pairs):
        raise ConfigError(f"--out must not be the table of pairs itself, got '{path}'; give another name")
    scored = recommender.score(read_pairs(recommender, pairs), strict=strict)
    _sink(iter([scored]), scored.schema, path)
    added = scored.columns[-1]
    return Scored(scored.height, scored.get_column(added).null_count(), added)


def read_pairs(recommender: Recommender, path: str | Path) -> pl.DataFrame:
    """Read a table; ids that are text in the model are read as text, even if they look like numbers."""
    schema = recommender.encoder.schema
    known = {schema.user: recommender.user_ids.dtype, schema.item: recommender.item_ids.dtype}
    text = {name: dtype for name, dtype in known.items() if dtype == pl.String}
    return read_table(path, dtypes=text, ids=list(known))


def _same(path: Location, table: str | Path) -> bool:
    if isinstance(path, RemoteFile) or is_url(table):
        return str(path) == without_secrets(str(table))
    return path.exists() and path.samefile(Path(table).expanduser())


def _writable(out: str | Path) -> Location:
    path = remote(str(out)) if is_url(out) else Path(out).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out must end in {' or '.join(SUFFIXES)}, got '{path}'")
    if isinstance(path, RemoteFile):
        path.check_writable()
    else:
        check_file(path)
    return path


def _sink(blocks: Iterator[pl.DataFrame], schema: pl.Schema, path: Location) -> None:
    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        # Nothing is selected from it below, so that Polars has nothing to ask of it.
        del with_columns, predicate, n_rows, batch_size
        yield from blocks

    frame = register_io_source(source, schema=schema)
    with path.replacing() if isinstance(path, RemoteFile) else replacing(path) as temporary:
        if path.suffix.lower() == ".csv":
            frame.sink_csv(temporary)
        else:
            frame.sink_parquet(temporary)
