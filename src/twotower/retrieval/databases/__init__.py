"""Vector databases: a catalogue published in versions, and an index that asks for it."""

from twotower.retrieval.databases.address import Address
from twotower.retrieval.databases.columns import Columns
from twotower.retrieval.databases.database import Items, VectorDatabase, Version, database_at
from twotower.retrieval.databases.published import PublishedIndex, open_index
from twotower.retrieval.databases.publishing import Publication, publish_items

__all__ = [
    "Address",
    "Columns",
    "Items",
    "Publication",
    "PublishedIndex",
    "VectorDatabase",
    "Version",
    "database_at",
    "open_index",
    "publish_items",
]
