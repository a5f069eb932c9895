"""Read the tables of a config, and split them into training, validation and test set.

In two steps, so the raw tables can be checked before anything is dropped or held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twotower.config import Config
from twotower.config.schema import ADDED, Schema
from twotower.data.dataset import Dataset
from twotower.data.splits import SPLITS
from twotower.data.splits.split import WHOLE
from twotower.data.splitting import Parts, parts_of, split_three
from twotower.data.tables import read_dataset
from twotower.datasets.kuairec import SCHEMA, read_kuairec, read_matrix
from twotower.datasets.loading import load_sample
from twotower.datasets.movielens import read_movielens

FILES_VALIDATION = 0.1
"""Share of the training file used for validation if the config does not set one."""


def read_raw(config: Config) -> dict[str, Dataset]:
    """Read the tables of a config without dropping anything.

    Args:
        config: with paths relative to the working directory, or absolute.

    Returns:
        By name: ``train``, ``test`` and perhaps ``validation`` with split methods ``files`` and ``column``,
        otherwise only ``interactions``. All have the same schema.

    Raises:
        DataError: a table is missing or invalid; the message states the fix.
    """
    method = SPLITS.get(config.split.method).of(config.split)
    first: list[Dataset] = []

    def read(name: str | None) -> Dataset:
        found = _read_whole(config) if name is None else _read_file(config, name, first)
        first.append(found)
        return found

    return dict(method.sets(read))


def cut(config: Config, raw: Mapping[str, Dataset]) -> Parts:
    """Drop duplicates, merge contradicting rows, and split as the config says.

    Args:
        config: its split and seed are used.
        raw: what `read_raw` returned for the same config.

    Raises:
        ConfigError, DataError: as `split_three` and `parts_of`.
    """
    share, repeats = config.split.validation, config.data.repeats
    if WHOLE not in raw:
        share = share if isinstance(share, float) else FILES_VALIDATION
        return parts_of(
            raw["train"], raw["test"], raw.get("validation"), share, config.split_seed, repeats=repeats
        )
    test = config.split.test
    assert isinstance(test, float)  # validated by the config: paths are for method "files"
    share = share if isinstance(share, float) else test
    return split_three(raw[WHOLE], config.split.method, test, share, config.split_seed, repeats=repeats)


def _read_whole(config: Config) -> Dataset:
    data = config.data
    match data.source:
        case "kuairec-sample":
            return _extended(load_sample(), config)
        case "kuairec":  # checked by the split
            return read_kuairec(_folder(config), unique=False, schema=with_added(SCHEMA, config))
        case "movielens":
            return _extended(read_movielens(_folder(config)), config)
        case "tables":
            assert data.interactions is not None
            return _read_tables(config, data.interactions)


def _read_tables(config: Config, interactions: str) -> Dataset:
    data = config.data
    assert config.schema_ is not None
    return read_dataset(
        interactions,
        data.users,
        data.items,
        schema=config.schema_,
        columns={str(table): names for table, names in data.columns.items()},
        encoding=data.encoding,
        keep=[] if config.split.column is None else [config.split.column],
    )


def _read_file(config: Config, name: str, first: list[Dataset]) -> Dataset:
    """Read the interactions of a file, with the users and items of all."""
    if config.data.source != "kuairec":
        return _read_tables(config, name)
    folder = _folder(config)
    if not first:
        return read_kuairec(folder, name, unique=False, schema=with_added(SCHEMA, config))
    rows, sources = read_matrix(folder, name), {"interactions": name}
    return Dataset.of(rows, first[0].users, first[0].items, schema=first[0].schema, sources=sources)


def with_added(schema: Schema, config: Config) -> Schema:
    """Return the schema of a named data set with what the config adds to it."""
    added = {} if config.schema_ is None else {name: getattr(config.schema_, name) for name in ADDED}
    return Schema.parse({**dict(schema), **added}) if any(added.values()) else schema


def _extended(data: Dataset, config: Config) -> Dataset:
    schema = with_added(data.schema, config)
    if schema is data.schema:
        return data
    return Dataset.of(data.interactions, data.users, data.items, schema=schema).with_notes(*data.notes)


def _folder(config: Config) -> Path:
    assert config.data.dir is not None
    return Path(config.data.dir)
