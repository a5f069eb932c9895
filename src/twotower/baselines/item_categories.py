"""The categories of items, for baselines that rank items without training rows by them."""

from __future__ import annotations

import polars as pl

from twotower.baselines.baseline import IntArray
from twotower.config.schema import Schema
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, DataError, nearest

NEEDED = "an item column of kind category or categories"
"""What the schema must name, in words."""


def category_columns(schema: Schema, baseline: str) -> list[str]:
    """Return the item columns of kind category or categories.

    Raises:
        ConfigError: there is none.
    """
    found = [name for name, kind in schema.items.items() if kind.meaning == "tags"]
    if not found:
        raise ConfigError(
            f"{baseline} needs {NEEDED}; the schema has none. Add one under [schema.items], or leave out "
            "this baseline"
        )
    return found


def chosen_column(column: str | None, schema: Schema, baseline: str) -> str:
    """Return a column by its name; the first one by default.

    Raises:
        ConfigError: it is not one of `category_columns`.
    """
    columns = category_columns(schema, baseline)
    if column is None:
        return columns[0]
    if column not in columns:
        raise ConfigError(
            f"the column of {baseline} must be one of {', '.join(columns)}; got {column!r}."
            f"{nearest(column, columns)}"
        )
    return column


def category_entries(tables: Dataset, column: str, wanted: Vocabulary) -> tuple[IntArray, pl.Series]:
    """Return each entry's position in ``wanted`` (n,) and category (n,), without duplicates.

    Raises:
        DataError: the items lack the column.
    """
    if column not in tables.items.columns:
        raise DataError(
            f"the items need the column {column!r}, which the baseline was fitted with; it is missing. Read "
            "them with the schema of the training set"
        )
    places = wanted.rows(tables.items.get_column(tables.schema.item))
    entries = pl.DataFrame({"place": places, "category": tables.items.get_column(column)})
    if isinstance(entries.schema["category"], pl.List):
        entries = entries.explode("category")
    entries = entries.filter(pl.col("place") >= 0).drop_nulls("category").unique(maintain_order=True)
    return entries.get_column("place").to_numpy(), entries.get_column("category")
