"""`INDEXES`: the kinds of index by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twotower.core.registry import Registry

if TYPE_CHECKING:
    from twotower.retrieval.index import Index

INDEXES: Registry[Index] = Registry(
    "index",
    "twotower.retrieval",
    {
        "exact": "exact_index:ExactIndex",
        "hnsw": "hnsw:HnswIndex",
        "ivf": "ivf:IvfIndex",
        "ivfpq": "ivfpq:IvfPqIndex",
        "milvus": "databases.milvus:MilvusIndex",
    },
)
"""The kinds of index by name."""
