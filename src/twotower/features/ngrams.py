"""Hashes of character n-grams in Numba, which takes long to import: `text` does so when it is needed."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def hash_ngrams(points, ends, sizes, columns):  # type: ignore[no-untyped-def]  # pragma: no cover
    """FNV-1a over the code points of every n-gram of every text."""
    total = 0
    start = 0
    for end in ends:
        for n in sizes:
            total += max(end - start - n + 1, 0)
        start = end
    rows = np.empty(total, np.int32)
    hashed = np.empty(total, np.int32)
    at = 0
    start = 0
    for row in range(len(ends)):
        for n in sizes:
            for i in range(start, ends[row] - n + 1):
                h = np.uint64(14695981039346656037)
                for j in range(n):
                    h = (h ^ np.uint64(points[i + j])) * np.uint64(1099511628211)
                h ^= h >> np.uint64(29)
                rows[at] = row
                hashed[at] = np.int32(h % np.uint64(columns))
                at += 1
        start = ends[row]
    return rows, hashed
