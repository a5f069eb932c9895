"""`Encoder`: users and items of a data set to arrays by row, fitted only on a training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.config.schema import Schema
from twotower.core.blocks import Bag, Block, Codes, Dense, EncodedShape, Form
from twotower.core.reprs import ShortRepr
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import TrainPart, check_train
from twotower.features.item_statistics import statistics_width


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

    @property
    def shape(self) -> EncodedShape:
        """The blocks without their rows."""
        return EncodedShape({name: Form.of(block) for name, block in self.blocks.items()})


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
        cls, table: pl.DataFrame, warm_ids: pl.Series, column: str, kinds: Mapping[str, FeatureKind]
    ) -> SideEncoder:
        """Fit on the rows of ``table`` whose id is a warm one."""
        rows = table.filter(pl.col(column).is_in(warm_ids.implode()))
        return cls(column, warm_ids, {name: kind.fit(rows.get_column(name)) for name, kind in kinds.items()})

    def on(self, warm_ids: pl.Series) -> SideEncoder:
        """Return the encoder with other warm ids, sorted; features are encoded as before."""
        return SideEncoder(self.column, warm_ids, self.columns)

    def rows(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return the position of each id among the warm ones, int64 (n,); -1 for a cold one."""
        return Vocabulary(self.warm_ids).rows(ids)

    @property
    def shape(self) -> EncodedShape:
        """What a tower reads of any rows."""
        return EncodedShape({name: encoder.form for name, encoder in self.columns.items()})

    def transform(self, table: pl.DataFrame) -> EncodedSide:
        """Return the arrays of a table that has the id column and every feature column."""
        warm = self.rows(table.get_column(self.column)) + 1
        blocks = {
            name: _checked(name, encoder, table.get_column(name)) for name, encoder in self.columns.items()
        }
        return EncodedSide(warm.astype(np.int32), blocks)


@dataclass(frozen=True, repr=False)
class ContextEncoder(ShortRepr):
    """Fitted state for the context in which queries are asked.

    Attributes:
        columns: fitted encoder of each column.
    """

    columns: dict[str, ColumnEncoder] = field(default_factory=dict)

    @property
    def shape(self) -> EncodedShape | None:
        """What a tower reads of any context; None without columns."""
        if not self.columns:
            return None
        return EncodedShape({name: encoder.form for name, encoder in self.columns.items()})

    def transform(self, table: pl.DataFrame) -> EncodedSide:
        """Return the arrays of checked columns, one row a query; "warm" is 0 where nothing is known."""
        blocks = {
            name: _checked(name, encoder, table.get_column(name)) for name, encoder in self.columns.items()
        }
        known = table.select(pl.any_horizontal(pl.col(name).is_not_null() for name in self.columns))
        return EncodedSide(known.to_series().to_numpy().astype(np.int32), blocks)


@dataclass(frozen=True, repr=False)
class Encoder(ShortRepr):
    """Fitted state for users, items and context. Create it with `Encoder.fit`."""

    schema: Schema
    users: SideEncoder
    items: SideEncoder
    context: ContextEncoder = field(default_factory=ContextEncoder)

    @property
    def user_shape(self) -> EncodedShape:
        """What a user tower reads: of users, and of the context in which they ask."""
        return EncodedShape(self.users.shape.forms, self.context.shape)

    @property
    def item_shape(self) -> EncodedShape:
        """What an item tower reads: of items, and of the day of a query."""
        return EncodedShape(self.items.shape.forms, statistics=statistics_width(self.schema))

    def on(self, train: TrainPart) -> Encoder:
        """Return the encoder with the users and items of another training set.

        Features are encoded as before: values that are new there count as unknown.
        """
        check_train(train, "an encoder")
        users, items = self.users.on(train.ids("user")), self.items.on(train.ids("item"))
        return Encoder(self.schema, users, items, self.context)

    @classmethod
    def fit(cls, train: TrainPart) -> Encoder:
        """Fit vocabularies, means, scales and projections on a training set.

        Each user and item with training interactions counts once, however many it has; those that occur only
        in the validation or test set are ignored. Columns of the context are fitted on all training
        interactions.

        Raises:
            TrainPartError: ``train`` is a dataset not marked as a training set. An encoder fitted on rows
                that are later used for testing leaks; `twotower.split` and `Dataset.as_train` make training
                sets.
        """
        check_train(train, "an encoder")
        schema = train.schema
        return cls(
            schema,
            SideEncoder.fit(train.users, train.ids("user"), schema.user, schema.users),
            SideEncoder.fit(train.items, train.ids("item"), schema.item, schema.items),
            ContextEncoder(
                {name: kind.fit(train.interactions.get_column(name)) for name, kind in schema.context.items()}
            ),
        )


def _checked(name: str, encoder: ColumnEncoder, column: pl.Series) -> Block:
    """Return the block of a column, of a kind that may be one's own."""
    block: object = encoder.transform(column)
    if not isinstance(block, Dense | Codes | Bag):
        raise TypeError(
            f"an encoder must return Dense, Codes or Bag; column {name!r} gave {type(block).__name__}"
        )
    if block.rows != len(column) or Form.of(block) != encoder.form:
        raise TypeError(
            f"a block must have the {len(column)} rows of its column and the form {_said(encoder.form)}; "
            f"{name!r} has {block.rows} and {_said(Form.of(block))}"
        )
    return block


def _said(form: Form) -> str:
    return f"{form.kind.__name__} of {form.size}"
