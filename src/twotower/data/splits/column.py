"""Read the set of each row from a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import polars as pl

from twotower.config.sections import SplitConfig
from twotower.core.where import Where, shown
from twotower.core.wording import count_of
from twotower.data.checks import require_columns
from twotower.data.dataset import Dataset
from twotower.data.splits.split import Read, Split
from twotower.errors import DataError

PART_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
"""The values of a column that mark the rows of each set."""
SETS = {"train": "training", "validation": "validation", "test": "test"}
"""The words for the sets in messages."""


class Column(Split):
    """A column of the interactions names the set of each row.

    Args:
        column: with the values train (or training), test (or testing), validation (or valid, val, dev), in
            any case.
        names: set -> the value of the column that marks it instead.
    """

    name = "column"
    summary = "the rows marked as test; those marked as validation go to the training set"
    sources = ("tables",)

    def __init__(self, column: str, names: Mapping[str, str] | None = None) -> None:
        self.column, self.names = column, dict(names or {})

    @classmethod
    def check(cls, settings: SplitConfig) -> None:
        """Make sure that the column is named, and that no share is given."""
        if settings.column is None:
            raise ValueError(
                "method 'column' needs split.column, the name of a column with the values train and test"
            )
        default = type(settings).model_fields["test"].default
        if isinstance(settings.test, float) and settings.test != default:
            raise ValueError(f"method 'column' takes the test rows from '{settings.column}'; leave test out")

    @classmethod
    def of(cls, settings: SplitConfig) -> Self:
        """Return the method with the column and the names of a config."""
        given = {"train": settings.train, "test": settings.test, "validation": settings.validation}
        names = {part: name for part, name in given.items() if isinstance(name, str)}
        return cls(settings.column or "", names)

    def sets(self, read: Read) -> Mapping[str, Dataset]:
        """Read all rows and divide them; see `divide`."""
        return self.divide(read(None))

    @classmethod
    def described(cls, settings: SplitConfig) -> str:
        """Return the name of the column."""
        return f"by column '{settings.column}'"

    def divide(self, data: Dataset) -> dict[str, Dataset]:
        """Return the sets.

        Args:
            data: all rows.

        Returns:
            Name (``train``, ``test``, and ``validation`` if it has rows) -> its rows, without the column.

        Raises:
            DataError: there is no such column, it has another value in some row, or there are no training or
                no test rows.
        """
        require_columns(data.interactions.columns, [self.column], "the interactions")
        said = data.interactions.get_column(self.column)
        part = self.marked(said, Where("the interactions", self.column))
        found = {
            name: data.with_interactions(data.interactions.filter(part == name).drop(self.column))
            for name in ("train", "validation", "test")
        }
        self.check_sets(said.unique(maintain_order=True), {name: len(part) for name, part in found.items()})
        return {name: data for name, data in found.items() if len(data)}

    def marked(self, said: pl.Series, where: Where) -> pl.Series:
        """Return the name of the set that each of n values marks.

        Raises:
            DataError: a value marks none.
        """
        names = self.names
        words = {word: part for part, known in PART_WORDS.items() if part not in names for word in known}
        text = said.cast(pl.String).str.strip_chars()
        part = text.replace_strict({value: part for part, value in names.items()}, default=None)
        part = part.fill_null(
            text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String)
        )
        if part.null_count():
            row = part.is_null().arg_max() or 0
            raise DataError(
                f"every row must belong to a set: column '{where.column}' of {where.source} is "
                f"{shown(said[row])} in data row {where.row(row):,} "
                f"({count_of(part.null_count(), 'such row')}), "
                f"and the valid values are {', '.join([*names.values(), *words])}. Correct the column, or "
                'set the values in [split] (train = "...", test = "...").'
            )
        return part

    def check_sets(self, said: pl.Series, sizes: Mapping[str, int]) -> None:
        """Raise a `DataError` if no row is marked as training, or none as test.

        Args:
            said: the distinct values of the column.
            sizes: the number of rows of each set.
        """
        for name in ("train", "test"):
            if not sizes[name]:
                values = ", ".join(map(str, said.head(10)))
                raise DataError(
                    f"every set needs at least one row: column '{self.column}' has {values}, so the "
                    f"{SETS[name]} set is empty"
                )
