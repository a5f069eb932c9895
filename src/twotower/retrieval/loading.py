"""Reading an index of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twotower.errors import BundleError
from twotower.retrieval.index import Index
from twotower.retrieval.registry import INDEXES
from twotower.retrieval.storage import Header, parsed, read_index


def load_index(path: str | Path, items: NDArray[np.float32]) -> Index:
    """Read an index of any kind that was saved for these item vectors.

    Raises:
        BundleError: the file is missing, truncated, changed, of a newer format or an unknown kind, or was
            built from other vectors.
        DataError: ``items`` is not a matrix of finite numbers.
        MissingExtraError: the kind needs a library that is not installed.
    """
    return _restored(Path(path), *read_index(Path(path)), items)


def index_from_bytes(content: bytes, path: Path, items: NDArray[np.float32]) -> Index:
    """Do as `load_index` with the bytes of a file; ``path`` is for messages."""
    return _restored(path, *parsed(path, content), items)


def _restored(path: Path, header: Header, payload: bytes, items: NDArray[np.float32]) -> Index:
    if header.kind not in INDEXES:
        fix = "Upgrade twotower, or build the index again"
        if ":" in header.kind:
            fix = (
                "Import the module of this class and register it (INDEXES.register), or build the index again"
            )
        raise BundleError(
            f"the index {path} must be one of {', '.join(INDEXES)}; it is {header.kind!r}. {fix}"
        )
    return INDEXES[header.kind].restore(path, header, payload, items)
