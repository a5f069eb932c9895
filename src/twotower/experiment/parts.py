"""From a config to the three parts of an experiment."""

from __future__ import annotations

from pathlib import Path

from twotower.config import Config
from twotower.data.dataset import Dataset
from twotower.data.datasets import load_sample
from twotower.data.kuairec import read_kuairec, read_matrix
from twotower.data.movielens import read_movielens
from twotower.data.splitting import Parts, parts_of, split_three
from twotower.data.tables import read_dataset
from twotower.errors import DataError
from twotower.experiment.stages import Log, Stages, quiet
from twotower.features.positive import PositiveRule

_FILES_VALIDATION = 0.1
"""Share of the train file that is carved for validation when the config does not say."""


def load_parts(config: Config, *, stages: Stages | None = None, log: Log = quiet) -> Parts:
    """Read the tables that a config names, drop duplicates, and split.

    Args:
        config: with paths relative to the working directory, or absolute.
        stages: where the seconds of "read" and "split" go.
        log: told how many rows the parts have, and every note of the reader and the splitter.

    Raises:
        ConfigError, DataError: a table or a setting is wrong; one message with the mend.
    """
    stages = stages or Stages()
    share = config.split.validation
    if config.split.method == "files":
        with stages("read"):
            train, test, validation = _read_files(config)
        with stages("split"):
            share = share if isinstance(share, float) else _FILES_VALIDATION
            parts = parts_of(train, test, validation, share, config.seed)
    else:
        assert isinstance(config.split.test, float)  # the config sees to it: paths are for method "files"
        with stages("read"):
            data = _read_whole(config)
        with stages("split"):
            share = share if isinstance(share, float) else config.split.test
            parts = split_three(data, config.split.method, config.split.test, share, config.seed)
    for note in notes_of(parts):
        log(f"note: {note}")
    sizes = ", ".join(f"{name} {rows:,}" for name, rows in sizes_of(parts).items())
    log(f"rows: {sizes}; {parts.train.users.height:,} users, {parts.train.items.height:,} items")
    return parts


def check_positives(config: Config, parts: Parts) -> None:
    """Make sure, before anything is trained to rank, that every part has positives.

    Raises:
        DataError: one has none; the message names the part and says how its labels lie.
    """
    if not config.objective.implicit:
        return
    rule = PositiveRule.fit(parts.train, config.positive)
    for name, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
        try:
            if not rule.positive(part).any():
                rule.select(part)
        except DataError as error:
            raise DataError(f"{name} part: {error}") from None


def notes_of(parts: Parts) -> list[str]:
    """Return what was dropped or found on the way to the parts, each once."""
    return list(dict.fromkeys(parts.train.notes + parts.validation.notes + parts.test.notes))


def sizes_of(parts: Parts) -> dict[str, int]:
    """Return the number of interactions of each part."""
    return {"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)}


def _read_whole(config: Config) -> Dataset:
    data = config.data
    match data.source:
        case "kuairec-sample":
            return load_sample()
        case "kuairec":
            return read_kuairec(_folder(config), unique=False)  # the split sees to it
        case "movielens":
            return read_movielens(_folder(config))
        case "tables":
            assert config.schema_ is not None
            assert data.interactions is not None
            return read_dataset(data.interactions, data.users, data.items, schema=config.schema_)


def _read_files(config: Config) -> tuple[Dataset, Dataset, Dataset | None]:
    """Read the train, the test and perhaps the validation interactions, with the same users and items."""
    split, data = config.split, config.data
    assert split.train is not None
    assert isinstance(split.test, str)
    validation = split.validation if isinstance(split.validation, str) else None
    if data.source == "kuairec":
        folder = _folder(config)
        train = read_kuairec(folder, split.train, unique=False)

        def read(name: str) -> Dataset:
            rows, sources = read_matrix(folder, name), {"interactions": name}
            return Dataset.of(rows, train.users, train.items, schema=train.schema, sources=sources)
    else:

        def read(name: str) -> Dataset:
            assert config.schema_ is not None
            return read_dataset(name, data.users, data.items, schema=config.schema_)

        train = read(split.train)
    return train, read(split.test), None if validation is None else read(validation)


def _folder(config: Config) -> Path:
    assert config.data.dir is not None
    return Path(config.data.dir)
