"""The only module that imports FAISS and sets its number of threads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.errors import MissingExtraError


@cache
def faiss() -> Any:
    """Return the library FAISS, imported on first use, since the exact index doesn't need it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise MissingExtraError(
            "an approximate index needs the library FAISS, which is not installed; install it with: pip "
            "install 'twotower[ann]', or use the exact index"
        ) from None


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let FAISS use ``n`` threads for calls of this thread, and restore the number afterwards.

    In OpenMP the number belongs to the calling thread, so concurrent requests don't affect each other. A
    search uses one thread: a single request must not wait for threads to start, and batches are divided here.
    """
    before = faiss().omp_get_max_threads()
    faiss().omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss().omp_set_num_threads(before)


def from_bytes(payload: bytes, flags: int = 0) -> Any:
    """Return the index that FAISS wrote; RuntimeError if it can't be read."""
    if not payload:
        raise ValueError("the index is empty")
    return faiss().deserialize_index(np.frombuffer(payload, dtype=np.uint8), flags)


def pointer(array: NDArray[Any]) -> Any:
    """Return a pointer to an array for FAISS's own functions; it must be contiguous and stay alive."""
    return faiss().swig_ptr(array)
