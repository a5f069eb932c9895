"""`Encoder`: users and items of a data set to arrays by row, fitted only on a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.schema import Kind, Schema
from twotower.core.id_text import as_known
from twotower.core.reprs import ShortRepr
from twotower.data.dataset import Dataset, TrainPart
from twotower.features.blocks import Block
from twotower.features.numeric import NumericEncoder
from twotower.features.sets import CategoriesEncoder, CategoryEncoder
from twotower.features.text import TextEncoder
from twotower.features.vector import VectorEncoder

ColumnEncoder = NumericEncoder | CategoryEncoder | CategoriesEncoder | VectorEncoder | TextEncoder

_ENCODERS: dict[Kind, type[CategoryEncoder] | type[CategoriesEncoder] | type[VectorEncoder]] = {
    Kind.CATEGORY: CategoryEncoder,
    Kind.CATEGORIES: CategoriesEncoder,
    Kind.VECTOR: VectorEncoder,
}


@dataclass(frozen=True, repr=False)
class EncodedSide(ShortRepr):
    """Users or items as arrays, row by row.

    Attributes:
        warm: int32 (rows,); 0 for a cold row, else 1 + the row's position among the warm ids: its id
            embedding.
        blocks: one block per feature column, in the schema's order.
    """

    warm: NDArray[np.int32]
    blocks: dict[str, Block]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.warm)


@dataclass(frozen=True, repr=False)
class SideEncoder(ShortRepr):
    """Fitted state for users or for items.

    Attributes:
        column: name of the id column.
        warm_ids: ids with training interactions, sorted; row 1 + i of the id embedding belongs to
            ``warm_ids[i]``.
        columns: fitted encoder of each feature column.
    """

    column: str
    warm_ids: pl.Series
    columns: dict[str, ColumnEncoder]

    @classmethod
    def fit(
        cls, table: pl.DataFrame, events: pl.DataFrame, column: str, kinds: Mapping[str, Kind]
    ) -> SideEncoder:
        """Fit on the rows of ``table`` whose id occurs in the training ``events``."""
        warm_ids = events.get_column(column).unique().sort()
        rows = table.filter(pl.col(column).is_in(warm_ids.implode()))
        return cls(
            column, warm_ids, {name: _fit(rows.get_column(name), kind) for name, kind in kinds.items()}
        )

    def transform(self, table: pl.DataFrame) -> EncodedSide:
        """Return the arrays of a table that has the id column and every feature column."""
        known = self.warm_ids.alias(self.column).to_frame().with_row_index("warm", offset=1)
        ids = as_known(table.get_column(self.column), self.warm_ids.dtype).to_frame()
        warm = ids.join(known, on=self.column, how="left", maintain_order="left").get_column("warm")
        blocks = {name: encoder.transform(table.get_column(name)) for name, encoder in self.columns.items()}
        return EncodedSide(warm.fill_null(0).to_numpy().astype(np.int32), blocks)


@dataclass(frozen=True, repr=False)
class Encoder(ShortRepr):
    """Fitted state for users and items. Create it with `Encoder.fit`."""

    schema: Schema
    users: SideEncoder
    items: SideEncoder

    @classmethod
    def fit(cls, train: TrainPart) -> Encoder:
        """Fit vocabularies, means, scales and projections on a training set.

        Each user and item with training interactions counts once, however many it has; those that occur only
        in the validation or test set are ignored.

        Raises:
            TypeError: ``train`` is a dataset not marked as a training set. An encoder fitted on rows that are
                later used for testing leaks; `twotower.split` and `Dataset.as_train` make training sets.
        """
        if not isinstance(train, TrainPart):
            raise TypeError(
                f"an encoder must be fitted on a training set (TrainPart); got {type(train).__name__}. "
                "Use the first part that twotower.split returns, or Dataset.as_train() if all is for training"
            )
        schema = train.schema
        return cls(
            schema,
            SideEncoder.fit(train.users, train.interactions, schema.user, schema.users),
            SideEncoder.fit(train.items, train.interactions, schema.item, schema.items),
        )


def catalogue(data: Dataset, side: str, warm_ids: pl.Series) -> pl.DataFrame:
    """Return the users or items table, with a row of missing features for each warm id not in it."""
    table, column = (data.users, data.schema.user) if side == "users" else (data.items, data.schema.item)
    lacking = warm_ids.filter(~warm_ids.is_in(table.get_column(column).implode()))
    if not len(lacking):
        return table
    return pl.concat([table, lacking.alias(column).cast(table.schema[column]).to_frame()], how="diagonal")


def _fit(column: pl.Series, kind: Kind) -> ColumnEncoder:
    if kind in (Kind.NUMBER, Kind.LOG_NUMBER, Kind.TIMESTAMP):
        return NumericEncoder.fit(column, kind)
    if kind is Kind.TEXT:
        return TextEncoder.fit(column)
    return _ENCODERS[kind].fit(column)


def column_state(encoder: ColumnEncoder) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the JSON and array form of one column's encoder."""
    if isinstance(encoder, TextEncoder):
        return {}, encoder.arrays()
    return encoder.state(), {}


def column_from_state(kind: Kind, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> ColumnEncoder:
    """Rebuild one column's encoder from the saved form."""
    if kind in (Kind.NUMBER, Kind.LOG_NUMBER, Kind.TIMESTAMP):
        return NumericEncoder.from_state(state, kind)
    if kind is Kind.TEXT:
        return TextEncoder.from_arrays(arrays)
    return _ENCODERS[kind].from_state(state)
