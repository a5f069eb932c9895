"""The one place that imports the library implicit: weighted alternating least squares."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix

from twotower.errors import MissingExtraError, TrainingError

Vectors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of the users (n_users, dim) and of the items (n_items, dim)."""


def als_vectors(
    matrix: csr_array, *, factors: int, regularization: float, alpha: float, iterations: int, seed: int
) -> Vectors:
    """Factorise by weighted alternating least squares; the users' vectors are solved for last, and exactly.

    Args:
        matrix: (n_users, n_items), 1 for each pair.
        factors: dim.
        regularization: L2 of all vectors.
        alpha: weight of a pair, where the weight of all others is 1.
        iterations: how often both sides are solved for.
        seed: of the vectors to start from.

    Raises:
        MissingExtraError: the library is not installed.
        TrainingError: the vectors are not finite.
    """
    models = _module("implicit.cpu.als")
    # The class and the dtypes that the library relies on.
    pairs = csr_matrix(
        (matrix.data.astype(np.float32), matrix.indices.astype(np.int32), matrix.indptr), shape=matrix.shape
    )
    # Threads of BLAS within those of the library would make it slower, and their number would change bits.
    with _module("threadpoolctl").threadpool_limits(1, "blas"):
        model = models.AlternatingLeastSquares(
            factors=factors,
            regularization=regularization,
            alpha=alpha,
            iterations=iterations,
            num_threads=0,  # as many as there are: each vector is solved for alone, so they change no bit
            random_state=seed,
        )
        try:
            model.fit(pairs, show_progress=False)
        except _module("implicit.recommender_base").ModelFitError:
            raise TrainingError(
                "the vectors of iALS must stay finite and did not; raise the regularization, or lower alpha"
            ) from None
        users = model.recalculate_user(np.arange(pairs.shape[0]), pairs)
    return users, model.item_factors


def _module(name: str) -> Any:
    # Imported when asked for: it takes a while, and most runs need none of it.
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError(
            "the baseline iALS needs the library implicit, which is not installed; "
            "install it with: pip install 'twotower[baselines]'"
        ) from None
