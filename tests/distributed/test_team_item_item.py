"""`TeamGrades`: products of users' grades by the formula, for any number of workers, and after losses."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
from local_team import LocalTeam
from scipy.sparse import csr_array

from twotower.distributed.item_item import TeamGrades
from twotower.errors import TwoTowerWarning

RNG = np.random.default_rng(0)
X = np.where(RNG.random((30, 8)) < 0.4, RNG.uniform(0.2, 1.0, (30, 8)), 0.0)
W = X / np.maximum(X.sum(axis=1, keepdims=True), 1e-30) ** 0.25
Z, SCALE = RNG.normal(size=(8, 3)).astype(np.float32), RNG.uniform(0.5, 2.0, 8).astype(np.float32)


def check(rows: TeamGrades) -> None:
    npt.assert_allclose(rows.squares(), np.square(W).sum(axis=0), rtol=1e-5)
    npt.assert_allclose(rows.gram(np.float64), W.T @ W, rtol=1e-5)
    npt.assert_allclose(rows.through(Z), W.T @ (W @ Z), rtol=1e-4, atol=1e-5)
    of_scaled = W * SCALE
    npt.assert_allclose(rows.through(Z, SCALE), of_scaled.T @ (of_scaled @ Z), rtol=1e-4, atol=1e-5)
    npt.assert_allclose(rows.square(Z, SCALE), (of_scaled @ Z).T @ (of_scaled @ Z), rtol=1e-4, atol=1e-5)
    npt.assert_allclose(rows.times(Z), X @ Z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("workers", [1, 3, 40])
def test_products_are_those_of_all_users(workers: int) -> None:
    check(TeamGrades(LocalTeam(workers), csr_array(X.astype(np.float32))))


def test_a_product_in_which_a_worker_is_lost_is_done_again() -> None:
    with pytest.warns(TwoTowerWarning, match="a worker was lost"):
        check(TeamGrades(LocalTeam(3, losses=(5, 14), room=2), csr_array(X.astype(np.float32))))
