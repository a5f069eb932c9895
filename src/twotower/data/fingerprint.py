"""The fingerprint of the data: whether two runs read the same tables and split them the same way."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts


def fingerprint(parts: Parts) -> str:
    """Return the SHA-256 of the data that a model is trained, validated and tested on, as 64 hex digits.

    It covers the schema, the role columns of the interactions of all three sets and the features of users and
    items, in order: with another order of the rows the next run would split differently. It leaves out
    ``schema.verb``, which is only a word for people.
    """
    found = hashlib.sha256(parts.train.schema.model_dump_json(exclude={"verb"}).encode())
    for name, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
        _add(found, name, part.interactions.select(part.role_columns()))
    for name, table in _sides(parts.train).items():
        _add(found, name, table)
    return found.hexdigest()


def _sides(data: Dataset) -> dict[str, pl.DataFrame]:
    """Return the columns of the two tables that the schema reads."""
    schema = data.schema
    items = [schema.item, *schema.items, *schema.display]
    if schema.duration is not None and schema.duration in data.items.columns:
        items.append(schema.duration)
    return {
        "users": data.users.select(schema.user, *schema.users),
        "items": data.items.select(list(dict.fromkeys(items))),
    }


def _add(found: hashlib._Hash, name: str, table: pl.DataFrame) -> None:
    found.update(f"{name} {table.height}\n".encode())
    for column in table.get_columns():
        found.update(f"{column.name} {column.dtype}\n".encode())
        _add_values(found, column)


def _add_values(found: hashlib._Hash, column: pl.Series) -> None:
    """Hash the nulls of a column and its values; the bytes don't depend on the library."""
    found.update(np.packbits(column.is_null().to_numpy()).tobytes())
    values = column.drop_nulls()
    if isinstance(values.dtype, (pl.List, pl.Array)):
        as_lists = values.cast(pl.List(values.dtype.inner))
        length = as_lists.list.len()
        found.update(length.cast(pl.UInt32).to_numpy().tobytes())
        _add_values(found, as_lists.filter(length > 0).explode())
    elif values.dtype.is_numeric() or values.dtype.is_temporal() or values.dtype == pl.Boolean:
        number = values.to_physical() if values.dtype.is_temporal() else values.cast(_plain(values.dtype))
        found.update(np.ascontiguousarray(number.to_numpy()).tobytes())
    else:
        text = values.cast(pl.String)
        found.update(text.str.len_bytes().cast(pl.UInt32).to_numpy().tobytes())
        found.update("".join(text.to_list()).encode())


def _plain(dtype: pl.DataType) -> type[pl.DataType]:
    """Return the type whose bytes are hashed: a narrower number is the same number."""
    return pl.Float64 if dtype.is_float() or dtype.is_decimal() else pl.Int64
