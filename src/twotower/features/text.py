"""text: hashed character n-grams, weighted by inverse document frequency, reduced by truncated SVD (LSA).

Character n-grams need no model, tokeniser or word boundaries, so they work for Chinese captions and English
titles alike. They are hashed into a fixed number of columns (Weinberger et al., "Feature Hashing for Large
Scale Multitask Learning", ICML 2009), weighted by inverse document frequency, and projected onto the leading
singular directions of the training rows (Deerwester et al. 1990) by a randomised SVD (Halko, Martinsson,
Tropp 2011). The tower's input is a short dense vector, so the cost of a step does not depend on the length of
the text.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from twotower.config.kinds import ColumnEncoder, FeatureKind
from twotower.core.blocks import Dense, Form
from twotower.core.column_facts import ColumnFacts, Fit
from twotower.core.tensors import exactly, finite
from twotower.core.where import Found, Where
from twotower.core.wording import count_of
from twotower.data.parse import plain

COLUMNS = 1 << 14
SIZES = (1, 2, 3)
WIDTH = 16
"""Maximum number of directions."""
MAX_FIT_ROWS = 50_000
"""The projection is fitted on at most this many rows; more do not change its leading directions."""
MAX_CHARACTERS = 512
_FEW, _WORDS = 0.2, 1000
"""Share of distinct values, or number of them, from which a column called name or title is text."""
_LONG = 25
"""Mean number of characters from which strings are text."""
_OPAQUE = (r"^(https?:|www\.|/)", r"^[\x21-\x7e]+$")
"""Strings that are not text: links, and long words without a space."""


class Text(FeatureKind):
    """Free text in any language, read as hashed character n-grams."""

    dtype = pl.String
    meaning = "text"
    alone = True

    def read(self, values: pl.Series, where: Where, found: Found) -> pl.Series:
        """Return String; numbers and dates are converted to text.

        Raises:
            DataError: a column of lists or other nested values.
        """
        values = plain(values)
        if values.dtype.is_nested() or values.dtype in (pl.Object, pl.Binary):
            raise where.wrong_type(
                "a text must be a string", values, "Join the parts into one string per row"
            )
        return values.cast(pl.String)

    @classmethod
    def suits(cls, facts: ColumnFacts) -> Fit | None:
        """Suits columns named as texts, and long strings that differ and are no links or single words."""
        texts = facts.texts
        if texts is None:
            return None
        values, length = texts.n_unique(), float(texts.str.len_chars().to_numpy().mean())
        suits = facts.titled and values > min(_FEW * len(texts), _WORDS)
        if not suits and length > _LONG and values > 0.5 * len(texts):
            suits = all(texts.str.contains(form).to_numpy().mean() <= 0.5 for form in _OPAQUE)
        return (
            Fit(0.5, f"{count_of(values, 'text')} of {length:.0f} characters on average") if suits else None
        )

    def fit(self, column: pl.Series) -> TextEncoder:
        """Fit document frequencies and leading directions."""
        present = column.drop_nulls()
        if len(present) > MAX_FIT_ROWS:
            present = present.gather_every(-(-len(present) // MAX_FIT_ROWS))
        counts = _count(present)
        frequency = np.bincount(counts.indices, minlength=COLUMNS)
        idf = np.where(frequency > 0, np.log((1 + len(present)) / (1 + frequency)) + 1.0, 0.0).astype(
            np.float32
        )
        weighted = _weighted(counts, idf)
        width = min(WIDTH, max(weighted.shape[0] - 1, 0))
        if width == 0 or weighted.nnz == 0:
            return TextEncoder(idf, np.zeros((COLUMNS, 0), np.float32), np.zeros(0, np.float32))
        directions = _leading_directions(weighted, width)
        projected = np.asarray(weighted @ directions)
        # one scale for all directions keeps their relative importance
        scale = max(float(projected.std(axis=0).max()), 1e-6)
        return TextEncoder(
            idf, (directions / scale).astype(np.float32), (projected / scale).mean(axis=0).astype(np.float32)
        )

    def restore(self, state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> TextEncoder:
        """Rebuild from the array form."""
        width = len(arrays["mean"])
        exactly(
            arrays,
            {
                "idf": ("float32", (COLUMNS,)),
                "projection": ("float32", (COLUMNS, width)),
                "mean": ("float32", (width,)),
            },
        )
        for name, array in arrays.items():
            finite(repr(name), array)
        return TextEncoder(arrays["idf"], arrays["projection"], arrays["mean"])


@dataclass(frozen=True)
class TextEncoder(ColumnEncoder):
    """Fitted state of a text column.

    Attributes:
        idf: float32 (COLUMNS,) inverse document frequencies; 0 for a column without training rows.
        projection: float32 (COLUMNS, width), including zero rows; scaled so that training values have unit
            variance.
        mean: float32 (width,) of the projected training rows.
    """

    idf: NDArray[np.float32]
    projection: NDArray[np.float32]
    mean: NDArray[np.float32]

    @property
    def form(self) -> Form:
        """See `ColumnEncoder.form`."""
        return Form(Dense, len(self.mean) + 1)

    def transform(self, column: pl.Series) -> Dense:
        """Return (rows, width + 1): the projection (zeros if missing or empty) and a "missing" flag."""
        counts = _count(column)
        empty = np.diff(counts.indptr) == 0
        values = np.asarray(_weighted(counts, self.idf) @ self.projection) - self.mean
        values[empty] = 0.0
        return Dense(np.concatenate([values, empty[:, None]], axis=1).astype(np.float32))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the array form."""
        return {"idf": self.idf, "projection": self.projection, "mean": self.mean}


def _count(column: pl.Series) -> sparse.csr_matrix:
    """Return the hashed n-gram counts of each row, damped by 1 + log, as CSR (rows, COLUMNS)."""
    from twotower.features.ngrams import hash_ngrams  # noqa: PLC0415  (brings numba)

    texts = [
        unicodedata.normalize("NFKC", t or "")[:MAX_CHARACTERS].casefold().strip() for t in column.to_list()
    ]
    ends = np.cumsum([len(t) for t in texts], dtype=np.int64) if texts else np.zeros(0, np.int64)
    points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    rows, columns = hash_ngrams(points, ends, np.asarray(SIZES, dtype=np.int64), COLUMNS)
    counts = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(texts), COLUMNS))
    counts.sum_duplicates()
    counts.data = 1.0 + np.log(counts.data)
    return counts


def _weighted(counts: sparse.csr_matrix, idf: NDArray[np.float32]) -> sparse.csr_matrix:
    """Return the counts times idf, each row of unit length."""
    weighted = counts.multiply(idf[None, :]).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scaled: sparse.csr_matrix = (sparse.diags(1.0 / np.maximum(length, 1e-12)) @ weighted).tocsr()
    return scaled.astype(np.float32)


def _leading_directions(matrix: sparse.csr_matrix, width: int, rounds: int = 3) -> NDArray[np.float32]:
    """Return the ``width`` leading right singular vectors, (COLUMNS, width), with fixed signs."""
    start = np.random.default_rng(0).standard_normal((matrix.shape[1], width + 8)).astype(np.float32)
    basis = _orthonormal(matrix @ start)
    for _ in range(rounds):
        basis = _orthonormal(matrix @ (matrix.T @ basis))
    # the small factor B = Q'A, through the eigenvectors of BB'
    small = np.asarray(matrix.T @ basis, dtype=np.float64)
    values, left = np.linalg.eigh(small.T @ small)
    order = np.argsort(values)[::-1][:width]
    length = np.sqrt(np.maximum(values[order], 0.0))
    # directions beyond the rank are rounding errors
    right = small @ left[:, order] * np.where(length > 1e-5 * length[0], 1.0 / np.maximum(length, 1e-12), 0.0)
    signs = np.sign(right[np.abs(right).argmax(axis=0), np.arange(right.shape[1])])
    directions: NDArray[np.float32] = (right * signs).astype(np.float32)
    return directions


def _orthonormal(columns: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch  # noqa: PLC0415  (only to fit)

    basis: NDArray[np.float32] = torch.linalg.qr(torch.from_numpy(np.ascontiguousarray(columns))).Q.numpy()
    return basis
