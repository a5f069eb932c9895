"""The fingerprint of the data: whether two runs read the same tables and split them the same way."""

from __future__ import annotations

import polars as pl

from twotower.core.fingerprint import Fingerprint
from twotower.data.daily import KNOWN, VALUE
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts


def fingerprint(parts: Parts) -> str:
    """Return the fingerprint of the data that a model is trained, validated and tested on.

    It covers the schema, the role columns of the interactions of all three sets and the features of users and
    items, in order: with another order of the rows the next run would split differently. It leaves out
    ``schema.verb``, which is only a word for people.
    """
    return fingerprint_of(train=parts.train, validation=parts.validation, test=parts.test)


def fingerprint_of(train: Dataset, **others: Dataset) -> str:
    """Return the fingerprint of the interactions of several sets, and of the tables of the first."""
    found = Fingerprint().text(train.schema.model_dump_json(exclude={"verb"}))
    for name, part in {"train": train, **others}.items():
        found.table(name, part.interactions.select(part.role_columns()))
    for name, table in _sides(train).items():
        found.table(name, table)
    return found.hex()


def _sides(data: Dataset) -> dict[str, pl.DataFrame]:
    """Return the columns of the two tables that the schema reads."""
    schema = data.schema
    items = [schema.item, *schema.items, *schema.display]
    if schema.duration is not None and schema.duration in data.items.columns:
        items.append(schema.duration)
    daily = [
        pl.col(name).list.eval(pl.element().struct.field(field)).alias(f"{name}.{field}")
        for name in schema.daily
        for field in (KNOWN, VALUE)
    ]
    return {
        "users": data.users.select(schema.user, *schema.users),
        "items": data.items.select(*dict.fromkeys(items), *daily),
    }
