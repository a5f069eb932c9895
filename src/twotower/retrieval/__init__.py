"""Retrieval: the k items whose vectors score highest for a user's vector.

Serving a two-tower model is this search alone, since the towers meet only at the dot product. The exact scan
is fast enough for catalogues of tens of thousands of items, and the approximate indexes are checked against
it; `tune_index` finds the fastest index with enough recall.
"""

from typing import Any

from twotower.core.warn import deprecated
from twotower.retrieval.candidates import Candidates
from twotower.retrieval.exact import exact_top_k
from twotower.retrieval.exact_index import ExactIndex
from twotower.retrieval.hnsw import HnswIndex
from twotower.retrieval.index import Index
from twotower.retrieval.ivf import IvfIndex
from twotower.retrieval.ivfpq import IvfPqIndex
from twotower.retrieval.loading import index_from_bytes, load_index
from twotower.retrieval.registry import INDEXES
from twotower.retrieval.tuning import Point, Tuned, recall, tune_index

__all__ = [
    "INDEXES",
    "Candidates",
    "ExactIndex",
    "HnswIndex",
    "Index",
    "IvfIndex",
    "IvfPqIndex",
    "Point",
    "Tuned",
    "exact_top_k",
    "index_from_bytes",
    "load_index",
    "recall",
    "tune_index",
]


def __getattr__(name: str) -> Any:
    if name == "TopK":
        deprecated("twotower.retrieval.TopK", "twotower.retrieval.Candidates")
        return Candidates
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
