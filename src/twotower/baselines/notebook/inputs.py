"""The inputs of the notebook's network: all features as one vector of numbers, fitted on the training set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from twotower.config.kinds import FeatureKind
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import DataError

Matrix = NDArray[np.float64]

_MOST_VALUES = 256
"""Maximum width of a multi-hot list, for its most frequent values; otherwise a list of ids (friends) would
be wider than all other inputs together."""
_FAR = 1e6
"""Standardised values are clipped to this many standard deviations, so that the network does not overflow."""


class _Column(ABC):
    """Encodes one feature column as numbers."""

    @abstractmethod
    def transform(self, column: pl.Series) -> Matrix:
        """Return (rows, width)."""


@dataclass(frozen=True)
class _Scaled(_Column):
    """Values standardised by training mean (width,) and sd (width,); missing ones become the mean."""

    mean: Matrix
    sd: Matrix

    def standard(self, values: Matrix) -> Matrix:
        missing = np.isnan(values)
        scaled = np.where(missing, 0.0, (values - self.mean) / self.sd)
        return np.clip(scaled, -_FAR, _FAR)


@dataclass(frozen=True)
class _Number(_Scaled):
    """A number, standardised."""

    @classmethod
    def fit(cls, column: pl.Series) -> _Number:
        return cls(*_moments(_numbers(column)))

    def transform(self, column: pl.Series) -> Matrix:
        return self.standard(_numbers(column))


@dataclass(frozen=True)
class _Label(_Scaled):
    """The position of a category among the sorted training values, standardised as if it were a number."""

    values: pl.Series

    @classmethod
    def fit(cls, column: pl.Series) -> _Label:
        values = column.drop_nulls().unique().sort()
        return cls(*_moments(_places(column, values)), values)

    def transform(self, column: pl.Series) -> Matrix:
        return self.standard(_places(column, self.values))


@dataclass(frozen=True)
class _Vector(_Scaled):
    """A vector, each component standardised."""

    @classmethod
    def fit(cls, column: pl.Series) -> _Vector:
        width = int(column.list.len().max() or 0)  # type: ignore[arg-type]
        return cls(*_moments(_stacked(column, width)))

    def transform(self, column: pl.Series) -> Matrix:
        return self.standard(_stacked(column, len(self.mean)))


@dataclass(frozen=True)
class _MultiHot(_Column):
    """1 for each training value in the list, else 0."""

    values: pl.Series

    @classmethod
    def fit(cls, column: pl.Series) -> _MultiHot:
        entries = _entries(column).get_column("value")
        counts = entries.alias("value").to_frame().group_by("value").agg(pl.len().alias("count"))
        kept = counts.sort(["count", "value"], descending=[True, False]).head(_MOST_VALUES)
        return cls(kept.get_column("value").sort())

    def transform(self, column: pl.Series) -> Matrix:
        entries = _entries(column)
        place = Vocabulary(self.values).rows(entries.get_column("value"))
        known = place >= 0
        hot = np.zeros((len(column), len(self.values)))
        hot[entries.get_column("row").to_numpy()[known], place[known]] = 1.0
        return hot


def _fitted(column: pl.Series, kind: FeatureKind) -> _Column:
    """Fit the encoder of a column by its type: lists, categories or numbers."""
    if isinstance(column.dtype, pl.List):
        return _Vector.fit(column) if column.dtype.inner.is_float() else _MultiHot.fit(column)
    if kind.meaning == "tags":
        return _Label.fit(column)
    if not column.dtype.is_numeric():
        raise DataError(
            f"the notebook's network reads numbers, categories and lists of them; column {column.name!r} of "
            f"kind {kind} is {column.dtype}. Leave out the baseline or the column"
        )
    return _Number.fit(column)


@dataclass(frozen=True)
class Inputs:
    """The network's inputs for the rows of a dataset, built one batch at a time.

    Attributes:
        users: float32 (n_users + 1, user width); the last row (zeros) is for users without features.
        items: float32 (n_items + 1, item width), the same for items.
        user: int64 (n,) row of ``users`` of each interaction.
        item: int64 (n,) row of ``items``.
    """

    users: Tensor
    items: Tensor
    user: Tensor
    item: Tensor

    def __len__(self) -> int:
        return len(self.user)

    @property
    def width(self) -> int:
        """Length of one input."""
        return int(self.users.shape[1] + self.items.shape[1])

    def batch(self, rows: Tensor) -> Tensor:
        """Return the inputs, float32 (batch, width), of some interactions (batch,)."""
        return torch.cat([self.users[self.user[rows]], self.items[self.item[rows]]], dim=1)


@dataclass(frozen=True)
class _Side:
    """Users or items: the id column and the encoder of each feature."""

    ids: str
    columns: Mapping[str, _Column]

    @classmethod
    def fit(
        cls, table: pl.DataFrame, events: pl.DataFrame, ids: str, kinds: Mapping[str, FeatureKind]
    ) -> _Side:
        """Fit on the users or items with training rows, each once."""
        seen = table.join(events.select(pl.col(ids).unique()), on=ids, how="semi")
        fitted = {
            name: _fitted(seen.get_column(name), kind)
            for name, kind in kinds.items()
            if kind.meaning != "text"  # ignored, as in the notebook
        }
        return cls(ids, fitted)

    def transform(self, table: pl.DataFrame, events: pl.DataFrame, source: str) -> tuple[Tensor, Tensor]:
        """Return the matrix (rows of the table + 1, width) and each interaction's row in it (n,)."""
        lacking = [name for name in self.columns if name not in table.columns]
        if lacking:
            raise DataError(
                f"the {source} need the feature columns that the model was fitted with; "
                f"missing: {', '.join(lacking)}. Read them with the schema of the training set"
            )
        parts = [column.transform(table.get_column(name)) for name, column in self.columns.items()]
        if not parts:
            # One constant input: without any, the network would have no first layer.
            parts = [np.zeros((table.height, 1))]
        matrix = np.concatenate(parts, axis=1)
        matrix = np.concatenate([matrix, np.zeros((1, matrix.shape[1]))]).astype(np.float32)
        row = Vocabulary(table.get_column(self.ids)).rows(events.get_column(self.ids))
        return torch.from_numpy(matrix), torch.from_numpy(np.where(row < 0, table.height, row))


@dataclass(frozen=True)
class NotebookInputs:
    """Fitted state of the inputs. Create it with `NotebookInputs.fit`."""

    users: _Side
    items: _Side

    @classmethod
    def fit(cls, train: TrainPart) -> NotebookInputs:
        """Fit codes, means and scales on the users and items of a training set."""
        schema = train.schema
        return cls(
            _Side.fit(train.users, train.interactions, schema.user, schema.users),
            _Side.fit(train.items, train.interactions, schema.item, schema.items),
        )

    def transform(self, data: Dataset) -> Inputs:
        """Return the inputs of every interaction, with features joined by id.

        Raises:
            DataError: a table lacks a feature column.
        """
        users, user = self.users.transform(data.users, data.interactions, "users")
        items, item = self.items.transform(data.items, data.interactions, "items")
        return Inputs(users, items, user, item)


def _moments(values: Matrix) -> tuple[Matrix, Matrix]:
    """Return mean and sd (width,) of the non-missing values (rows, width); 0 and 1 if all are missing."""
    there = ~np.isnan(values)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, values, 0.0).sum(axis=0) / count
    sd = np.sqrt(np.where(there, np.square(values - mean), 0.0).sum(axis=0) / count)
    return mean, np.where(sd > 0, sd, 1.0)


def _numbers(column: pl.Series) -> Matrix:
    values: Matrix = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return values[:, None]


def _places(column: pl.Series, values: pl.Series) -> Matrix:
    place = Vocabulary(values).rows(column)
    return np.where(place < 0, np.nan, place)[:, None]


def _stacked(column: pl.Series, width: int) -> Matrix:
    """Return the vectors (rows, width), with NaN rows for missing ones."""
    stacked = np.full((len(column), width), np.nan)
    there = column.is_not_null().to_numpy()
    flat = column.drop_nulls().explode().cast(pl.Float64).to_numpy()
    stacked[there] = flat.reshape(-1, width) if width else np.empty((int(there.sum()), 0))
    return stacked


def _entries(column: pl.Series) -> pl.DataFrame:
    """Return one (row, value) row per entry of each list."""
    table = pl.DataFrame({"value": column}).with_row_index("row")
    return table.explode("value").drop_nulls("value")
