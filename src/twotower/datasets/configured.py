"""Read the tables of a config, and split them into training, validation and test set.

In two steps, so the raw tables can be checked before anything is dropped or held out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from twotower.config import Config
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts, parts_in_column, parts_of, split_three
from twotower.data.tables import read_dataset
from twotower.datasets.kuairec import read_kuairec, read_matrix
from twotower.datasets.loading import load_sample
from twotower.datasets.movielens import read_movielens

WHOLE: Final = "interactions"
"""Name of the interactions before the split."""

_FILES_VALIDATION = 0.1
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
    if config.split.method == "files":
        return _read_files(config)
    whole = _read_whole(config)
    if config.split.column is None:
        return {WHOLE: whole}
    named = {"train": config.split.train, "test": config.split.test, "validation": config.split.validation}
    return parts_in_column(
        whole, config.split.column, {part: name for part, name in named.items() if isinstance(name, str)}
    )


def cut(config: Config, raw: Mapping[str, Dataset]) -> Parts:
    """Drop duplicates, merge contradicting rows, and split as the config says.

    Args:
        config: its split and seed are used.
        raw: what `read_raw` returned for the same config.

    Raises:
        ConfigError, DataError: as `split_three` and `parts_of`.
    """
    share, repeats = config.split.validation, config.data.repeats
    if config.split.method in ("files", "column"):
        share = share if isinstance(share, float) else _FILES_VALIDATION
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
            return load_sample()
        case "kuairec":
            return read_kuairec(_folder(config), unique=False)  # checked by the split
        case "movielens":
            return read_movielens(_folder(config))
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


def _read_files(config: Config) -> dict[str, Dataset]:
    """Read the training, test and perhaps validation interactions, with the same users and items."""
    split, data = config.split, config.data
    assert split.train is not None
    assert isinstance(split.test, str)
    if data.source == "kuairec":
        folder = _folder(config)
        train = read_kuairec(folder, split.train, unique=False)

        def read(name: str) -> Dataset:
            rows, sources = read_matrix(folder, name), {"interactions": name}
            return Dataset.of(rows, train.users, train.items, schema=train.schema, sources=sources)
    else:

        def read(name: str) -> Dataset:
            return _read_tables(config, name)

        train = read(split.train)
    files = {"train": train, "test": read(split.test)}
    if isinstance(split.validation, str):
        files["validation"] = read(split.validation)
    return files


def _folder(config: Config) -> Path:
    assert config.data.dir is not None
    return Path(config.data.dir)
