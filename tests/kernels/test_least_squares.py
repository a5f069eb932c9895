"""`solve_rows` against NumPy's solution of the normal equations, row by row."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.testing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotower.kernels.least_squares import solve_rows, squared_error
from twotower.kernels.pairs import Pairs

F32 = np.float32


def make_case(
    seed: int, *, weighted: bool = False, n: int = 9, m: int = 14, width: int = 6
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, n - 1, 50), rng.integers(0, m, 50)  # the last row has no pairs
    weight = rng.uniform(0.1, 2.0, 50) if weighted else None
    return {
        "pairs": Pairs.from_arrays(user, item, rng.normal(size=50), weight, n_users=n),
        "other": rng.normal(size=(m, width)).astype(F32),
        "start": rng.normal(size=(n, width - 1)).astype(F32),
        "towards": rng.normal(size=(n, width - 1)).astype(F32),
        "ridge": rng.uniform(0.5, 1.5, n).astype(F32),
        "row_cell": rng.uniform(0.1, 0.3, n).astype(F32),
        "other_cell": rng.uniform(0.5, 1.5, m).astype(F32),
    }


def solved(case: dict[str, Any]) -> np.ndarray:
    pairs, other = case["pairs"], case["other"].astype(np.float64)
    x, o = other[:, :-1], other[:, -1]
    cells = case["row_cell"][:, None].astype(np.float64) * case["other_cell"]
    rows = []
    for row in range(pairs.n_users):
        part = slice(pairs.indptr[row], pairs.indptr[row + 1])
        own, y = pairs.item[part], pairs.label[part].astype(np.float64)
        w = np.ones(len(y)) if pairs.weight is None else pairs.weight[part].astype(np.float64)
        r = float(case["ridge"][row])
        A = (x[own].T * w) @ x[own] + (x.T * cells[row]) @ x + r * np.eye(x.shape[1])
        right = x[own].T @ (w * (y - o[own])) - x.T @ (cells[row] * o) + r * case["towards"][row]
        rows.append(np.linalg.solve(A, right))
    return np.stack(rows)


@given(seed=st.integers(0, 200), weighted=st.booleans())
def test_enough_steps_give_the_solution(seed: int, weighted: bool) -> None:
    case = make_case(seed, weighted=weighted)
    npt.assert_allclose(solve_rows(**case, steps=12), solved(case), rtol=2e-3, atol=2e-3)


def test_a_few_steps_come_nearer_and_nearer() -> None:
    case = make_case(3)
    aim = solved(case)
    gaps = [np.abs(solve_rows(**case, steps=steps) - aim).max() for steps in (1, 3, 6)]
    assert gaps[0] > gaps[1] > gaps[2]


def test_a_solution_stays_where_it_is() -> None:
    case = make_case(4)
    case["start"] = solved(case).astype(F32)
    npt.assert_allclose(solve_rows(**case), case["start"], atol=1e-4)


def test_what_is_given_is_left_as_it_was_and_threads_change_no_bit() -> None:
    case = make_case(5)
    before = case["start"].copy()
    threads = numba.get_num_threads()
    found = []
    try:
        for n in (1, min(2, threads)):
            numba.set_num_threads(n)
            found.append(solve_rows(**case))
    finally:
        numba.set_num_threads(threads)
    npt.assert_array_equal(case["start"], before)
    npt.assert_array_equal(found[0], found[-1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows(bad: float) -> None:
    case = make_case(6)
    case["other"][3, 2] = bad
    assert not np.isfinite(solve_rows(**case)).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_squared_error_is_its_definition(weighted: bool) -> None:
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(7, 5)).astype(np.float32), rng.normal(size=(6, 5)).astype(np.float32)
    user, item, label = rng.integers(0, 7, 50), rng.integers(0, 6, 50), rng.normal(size=50)
    weight = rng.uniform(size=50) if weighted else None
    pairs = Pairs.from_arrays(user, item, label, weight, n_users=7)
    expected = np.average(((U[user] * V[item]).sum(axis=1) - label) ** 2, weights=weight)
    npt.assert_allclose(squared_error(U, V, pairs), expected, rtol=1e-5)


def test_squared_error_of_nothing_is_zero() -> None:
    none = Pairs.from_arrays(*(np.zeros(0, np.int64),) * 2, np.zeros(0), n_users=3)
    assert squared_error(np.ones((3, 2), np.float32), np.ones((2, 2), np.float32), none) == 0.0
