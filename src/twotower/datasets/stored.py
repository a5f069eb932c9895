"""The training, validation and test set of a config, the training set in a store on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from twotower.config import Config
from twotower.config.ranker import IN_MEMORY
from twotower.config.schema import Schema
from twotower.core.fingerprint import Fingerprint
from twotower.data.fingerprint import fingerprint
from twotower.data.raw_text import reading_errors
from twotower.data.splits import SPLITS
from twotower.data.splits.column import Column
from twotower.data.splits.files import Files
from twotower.data.splits.streamed import StreamedHoldOut
from twotower.data.splitting import Parts, carving, check_shares
from twotower.data.store.build import Built, Cut, Tables, build
from twotower.data.store.events import StoredEvents
from twotower.data.store.folder import default_folder, stored
from twotower.data.store.ingest import Unsettled
from twotower.data.store.spill import Spill
from twotower.data.streaming.source import Batch, TableSource
from twotower.data.table_files import files_of_table
from twotower.data.tables import TableRead, read_table, reads_of
from twotower.datasets.configured import FILES_VALIDATION, cut, read_raw
from twotower.errors import ConfigError, DataError

FROM_ROWS: Final = 20_000_000
"""Rows of the interactions from which on ``auto`` takes a store: in memory they take some 5 GB."""
_ROW_OF_TEXT: Final = 30
"""Bytes of a row of a text file, about."""
_SMALL: Final = 1 << 20
"""Bytes of files whose content is hashed; of larger ones name, size and time of change tell them apart (the
content as well, where a server tells no time or version)."""
Log = Callable[[str], None]


def load_stored(config: Config, log: Log) -> Parts | None:
    """Return the sets of a config if its training set is to be in a store; None if all is to be in memory.

    Args:
        config: with absolute paths.
        log: called with where the store is, how large, and whether it is new.

    Raises:
        ConfigError, DataError: as `read_raw` and `cut`.
        BundleError: the store can't be written.
    """
    data = config.data
    if data.store == "never":
        if data.store_dir is not None:
            log("note: data.store_dir is not read, as data.store is 'never'")
        return None
    if data.store == "auto" and (data.source != "tables" or not _many(config)):
        return None
    if (other := _no_place(config)) is not None:
        log(f"note: the training set stays in memory, because a store has no place for {other}")
        return None
    if config.ranker is not None:
        raise ConfigError(IN_MEMORY)
    folder = Path(data.store_dir) if data.store_dir is not None else default_folder()
    what = ", ".join(Path(path).name for path in _interactions(config)) or data.source
    key = _key(config)

    def write(store: Path, scratch: Path) -> Built:
        built = _write(config, store, scratch, log=log)
        if _key(config) != key:  # its name would stand for files that it was not built from
            raise DataError(
                f"files must not change while they are read, and those of {what} have. Try again."
            )
        return built

    return stored(folder / key, what, write, log)


def _write(config: Config, folder: Path, scratch: Path, *, log: Log) -> Built:
    """Build the store of a config."""
    reason = _in_memory(config)
    if reason is None:
        try:
            return _streamed(config, folder, scratch)
        except Unsettled as error:
            reason = str(error)
    log(f"note: all interactions are read into memory for it, because {reason}")
    parts = cut(config, read_raw(config))
    StoredEvents.of(parts.train, folder)
    train = parts.train
    sets = {"validation": parts.validation, "test": parts.test}
    return Built(train.users, train.items, train.schema, sets, train.notes, fingerprint(parts))


def _streamed(config: Config, folder: Path, scratch: Path) -> Built:
    method = SPLITS.get(config.split.method).of(config.split)
    column = method if isinstance(method, Column) else None
    files = {"train": config.data.interactions}
    if isinstance(method, Files):
        files = {"train": method.train, "test": method.test, "validation": method.validation}
    reads = {name: _reads(config, path) for name, path in files.items() if path is not None}
    interactions = {name: (str(read.path), _batches(read)) for name, (read, _, _) in reads.items()}
    _, users, items = reads["train"]
    assert config.schema_ is not None
    names = {"users": config.data.users or "users", "items": config.data.items or "items"}
    tables = Tables(interactions, _table(users), _table(items), config.schema_, names, column)
    return build(tables, folder, scratch, partial(_cuts, config), config.split_seed, config.data.repeats)


def _cuts(config: Config, schema: Schema, sets: frozenset[str]) -> list[Cut]:
    """Return the hold-outs that make the sets for which there is no file."""
    share, test = config.split.validation, config.split.test
    if "test" in sets:
        if "validation" in sets:
            return []
        holder = SPLITS.get(carving(schema))()
        assert isinstance(holder, StreamedHoldOut)
        return [Cut(holder, share if isinstance(share, float) else FILES_VALIDATION, "validation")]
    holder = SPLITS.get(config.split.method)()
    assert isinstance(test, float)
    assert isinstance(holder, StreamedHoldOut)
    share = share if isinstance(share, float) else test
    check_shares(test, share)
    return [Cut(holder, test, "test"), Cut(holder, share / (1.0 - test), "validation")]


def _in_memory(config: Config) -> str | None:
    """Return why the interactions must be read as a whole; None if batch by batch is enough."""
    if config.data.source != "tables":
        return f"source '{config.data.source}' is read as a whole"
    kind = SPLITS.get(config.split.method)
    if not issubclass(kind, StreamedHoldOut | Column | Files):
        return f"split method '{config.split.method}' chooses from all rows at once"
    return None


def _no_place(config: Config) -> str | None:
    """Return what of the interactions can't be in a store."""
    schema = config.schema_
    timestamp = None if schema is None else schema.timestamp
    others = [name for name in (schema.context if schema is not None else ()) if name != timestamp]
    return f"the context ({', '.join(others)})" if others else None


def _interactions(config: Config) -> list[str]:
    """Return the tables of interactions."""
    if config.data.source == "tables" and config.split.kind().reads_files:
        split = config.split
        return [path for path in (split.train, split.validation, split.test) if isinstance(path, str)]
    return [config.data.interactions] if config.data.interactions is not None else []


def _many(config: Config) -> bool:
    """Return whether there are at least `FROM_ROWS` interactions; of text files, about that."""
    sources = [TableSource(path) for path in _interactions(config)]
    sizes = [source.bytes() for source in sources]
    if sum(sizes) < FROM_ROWS:  # a row takes more than a byte; PyArrow is not imported for small files
        return False
    rows = [source.rows() for source in sources]
    return (
        sum(size // _ROW_OF_TEXT if known is None else known for size, known in zip(sizes, rows, strict=True))
        >= FROM_ROWS
    )


def _reads(config: Config, path: str) -> tuple[TableRead, TableRead | None, TableRead | None]:
    data = config.data
    assert config.schema_ is not None
    reads = reads_of(
        path,
        data.users,
        data.items,
        config.schema_,
        {str(table): names for table, names in data.columns.items()},
        data.encoding,
        [] if config.split.column is None else [config.split.column],
    )
    interactions = reads["interactions"]
    assert interactions is not None
    return interactions, reads["users"], reads["items"]


def _batches(read: TableRead) -> Callable[[], Iterable[Batch]]:
    return lambda: TableSource(read.path, **read.options).batches(read.columns, rows=Spill.block)


def _table(read: TableRead | None) -> pl.DataFrame | None:
    return None if read is None else read_table(read.path, read.columns, **read.options)


def _key(config: Config) -> str:
    """Return the name of the store of a config's files and of the settings that the sets depend on."""
    data = config.data
    tables = [*_interactions(config), *(path for path in (data.users, data.items) if path is not None)]
    paths = [file.path for table in tables for file in files_of_table(table)]
    if data.dir is not None:
        folder = Path(data.dir)
        paths += sorted(p for p in folder.rglob("*") if p.is_file()) if folder.is_dir() else [folder]
    found = Fingerprint()
    for path in paths:
        with reading_errors(path):
            stat = path.stat()
            found.json([str(path), stat.st_size, stat.st_mtime_ns])
            if stat.st_size <= _SMALL or not stat.st_mtime_ns:  # some servers tell no version
                with path.open("rb") as file:
                    while part := file.read(_SMALL):
                        found.text(hashlib.sha256(part).hexdigest())
    settings = {
        "data": data.model_dump(mode="json", exclude={"store", "store_dir"}),
        "schema": None if config.schema_ is None else config.schema_.model_dump(mode="json"),
        "split": config.split.model_dump(mode="json"),
        "seed": config.split_seed,
    }
    return found.json(settings).hex()[:20]
