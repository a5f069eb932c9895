"""`zero_diagonal_ridge`: each item predicted from all others by ridge regression, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack


def zero_diagonal_ridge(gram: NDArray[Any]) -> NDArray[Any]:
    """Return the matrix B (n, n) that minimises ``|X - X B|^2 + sum_i ridge_i |B_i|^2`` with a diagonal of 0.

    With P the inverse of ``gram``, ``B_ij = -P_ij / P_jj`` off the diagonal (Steck, "Embarrassingly Shallow
    Autoencoders for Sparse Data", WWW 2019, equation 8).

    Args:
        gram: ``X'X`` with the ridge of each row added to its diagonal: (n, n), symmetric and positive
            definite, float32 or float64. Its memory is overwritten, and is that of the result.

    Raises:
        numpy.linalg.LinAlgError: it is not positive definite in its precision.
    """
    # LAPACK needs column-major order, which the transposed view of a symmetric matrix has without a copy.
    potrf, potri = lapack.get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, failed = potrf(gram.T, lower=1, overwrite_a=1, clean=0)
    inverse, failed_too = (factor, failed) if failed else potri(factor, lower=1, overwrite_c=1)
    if failed or failed_too:
        raise np.linalg.LinAlgError("the matrix is not positive definite")
    weights: NDArray[Any] = inverse.T  # row-major; the upper triangle is filled
    for row in range(1, len(weights)):
        weights[row, :row] = weights[:row, row]
    weights /= -weights.diagonal().copy()
    np.fill_diagonal(weights, 0.0)
    return weights
