"""Weighted alternating least squares. The only module that imports the library implicit."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix

from twotower.errors import MissingExtraError, TrainingError

Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""User vectors (n_users, dim) and item vectors (n_items, dim)."""


def als_vectors(
    matrix: csr_array, *, factors: int, regularization: float, alpha: float, iterations: int, seed: int
) -> Vectors:
    """Factorise by weighted alternating least squares; the users' vectors are solved last, and exactly.

    Args:
        matrix: (n_users, n_items), 1 for each pair.
        factors: number of dimensions.
        regularization: L2 penalty on all vectors.
        alpha: weight of an observed pair; unobserved pairs have weight 1.
        iterations: number of times both sides are solved.
        seed: random seed of the initial vectors.

    Raises:
        MissingExtraError: the library is not installed.
        TrainingError: the vectors are not finite.
    """
    models = _module("implicit.cpu.als")
    # The class and dtypes that the library requires.
    pairs = csr_matrix(
        (matrix.data.astype(np.float32), matrix.indices.astype(np.int32), matrix.indptr), shape=matrix.shape
    )
    # BLAS threads inside the library's threads would slow it down, and their number would change the result.
    with _module("threadpoolctl").threadpool_limits(1, "blas"):
        model = models.AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            num_threads=0,  # all cores; their number does not change the result
            random_state=seed,
        )
        try:
            model.fit(pairs, show_progress=False)
        except _module("implicit.recommender_base").ModelFitError:
            raise TrainingError(
                "the vectors of iALS must be finite and are not; raise the regularization or lower alpha"
            ) from None
        users = model.recalculate_user(np.arange(pairs.shape[0]), pairs)
    return users, model.item_factors


def _module(name: str) -> Any:
    # Imported on first use: the import is slow and most runs do not need it.
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")  # about a bar that isn't shown
            return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(
            "the baseline iALS needs the library implicit, which is not installed; "
            "install it with: pip install 'twotower[baselines]'"
        ) from None
