"""The one place that imports FAISS, and that says how many threads it has."""

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
    """Return the library FAISS; imported when asked for, since the exact index needs none of it.

    Raises
    ------
    MissingExtraError
        It is not installed.

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
    """Give FAISS ``n`` threads in what this thread asks of it, and as many as before afterwards.

    The number is the calling thread's own in OpenMP, so requests that search at once don't disturb each
    other. A search has one: a request alone must not wait for threads to wake, and a batch is divided by us.
    """
    before = faiss().omp_get_max_threads()
    faiss().omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss().omp_set_num_threads(before)


def from_bytes(payload: bytes, flags: int = 0) -> Any:
    """Return the index that FAISS wrote; a RuntimeError says that it can't be read."""
    if not payload:
        raise ValueError("nothing is left of the index")
    return faiss().deserialize_index(np.frombuffer(payload, dtype=np.uint8), flags)


def pointer(array: NDArray[Any]) -> Any:
    """Return what FAISS's own functions take for an array, which must be contiguous and stay alive."""
    return faiss().swig_ptr(array)
