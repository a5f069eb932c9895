"""The fingerprint of the data: whether two runs read the same tables and split them the same way."""

from __future__ import annotations

import polars as pl

from twotower.config.schema import Schema
from twotower.core.fingerprint import Fingerprint
from twotower.data.daily import KNOWN, VALUE
from twotower.data.dataset import Dataset
from twotower.data.splitting import Parts
from twotower.data.store import StoredTrain


def fingerprint(parts: Parts) -> str:
    """Return the fingerprint of the data that a model is trained, validated and tested on.

    It covers the schema, the role columns of the interactions of all three sets and the features of users and
    items, in order: with another order of the rows the next run would split differently. It leaves out
    ``schema.verb``, which is only a word for people.
    """
    if parts.hash is not None:
        return parts.hash
    return fingerprint_of(train=parts.train, validation=parts.validation, test=parts.test)


def fingerprint_of(train: Dataset, **others: Dataset) -> str:
    """Return the fingerprint of the interactions of several sets, and of the tables of the first."""
    found = fingerprint_begun(train.schema)
    if isinstance(train, StoredTrain):
        found.json([train.role_columns(), train.events.digests()])
    else:
        found.table("train", train.interactions.select(train.role_columns()))
    return fingerprint_ended(found, train.users, train.items, train.schema, **others)


def fingerprint_begun(schema: Schema) -> Fingerprint:
    """Return the fingerprint to which the training interactions are added first."""
    return Fingerprint().text(schema.model_dump_json(exclude={"verb"}))


def fingerprint_ended(
    found: Fingerprint, users: pl.DataFrame, items: pl.DataFrame, schema: Schema, **others: Dataset
) -> str:
    """Return the fingerprint once the training interactions are in it."""
    for name, part in others.items():
        found.table(name, part.interactions.select(part.role_columns()))
    for name, table in _sides(users, items, schema).items():
        found.table(name, table)
    return found.hex()


def _sides(users: pl.DataFrame, items_table: pl.DataFrame, schema: Schema) -> dict[str, pl.DataFrame]:
    """Return the columns of the two tables that the schema reads."""
    items = [schema.item, *schema.items, *schema.display]
    if schema.duration is not None and schema.duration in items_table.columns:
        items.append(schema.duration)
    daily = [
        pl.col(name).list.eval(pl.element().struct.field(field)).alias(f"{name}.{field}")
        for name in schema.daily
        for field in (KNOWN, VALUE)
    ]
    return {
        "users": users.select(schema.user, *schema.users),
        "items": items_table.select(*dict.fromkeys(items), *daily),
    }
