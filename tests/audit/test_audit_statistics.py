"""The statistics of the audit against other implementations, and its guess at codes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from twotower.audit.nominal import lattice, looks_like_codes
from twotower.audit.statistics import (
    between_share,
    common_codes,
    gini,
    group_deviates,
    quantile_codes,
    spearman,
)


def test_spearman_is_scipys_over_the_finite_rows() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 50).astype(float), rng.normal(size=50)
    x[3], y[7] = np.nan, np.inf
    both = np.isfinite(x) & np.isfinite(y)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x[both], y[both]).statistic)
    assert np.isnan(spearman(np.ones(9), np.arange(9.0)))


def test_group_deviates_are_the_f_tests_of_scipy() -> None:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 5, 200)
    targets = rng.normal(size=(3, 200))
    targets[1] += 0.3 * (codes == 2)
    known = np.ones((3, 200), dtype=bool)
    known[2, 150:] = False
    targets = np.stack([np.where(k, y - y[k].mean(), 0.0) for y, k in zip(targets, known, strict=True)])
    found = group_deviates(codes, targets, known)
    for z, y, k in zip(found, targets, known, strict=True):
        p = stats.f_oneway(*(y[k & (codes == group)] for group in range(5))).pvalue
        assert z == pytest.approx(stats.norm.isf(p))


def test_group_deviates_of_nothing_are_0() -> None:
    known = np.ones((1, 4), dtype=bool)
    assert group_deviates(np.zeros(4, dtype=np.int64), np.array([[1.0, -1.0, 1.0, -1.0]]), known)[0] == 0.0


def test_between_share_of_noise_is_about_0_and_of_groups_is_all() -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 50, 5000)
    assert abs(between_share(codes, rng.normal(size=5000))) < 0.02
    assert between_share(codes, codes.astype(float)) == pytest.approx(1.0)
    assert np.isnan(between_share(np.arange(5), np.arange(5.0)))


def test_gini_by_hand() -> None:
    assert gini(np.ones(4)) == pytest.approx(0.0)
    assert gini(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(0.75)


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=60))
def test_quantile_codes_keep_the_order_and_equal_values_together(values: list[float]) -> None:
    x = np.array(values)
    codes = quantile_codes(x, 4)
    known = np.isfinite(x)
    order = np.argsort(x[known], kind="stable")
    assert (np.diff(codes[known][order]) >= 0).all()
    for value in x[known]:
        assert len(set(codes[x == value])) == 1
    assert (codes[~known] == 4).all()


def test_common_codes_join_the_rare_ones() -> None:
    assert common_codes(np.array([4, 4, 2, 4, 2, 0]), 2).tolist() == [5, 5, 3, 5, 3, 0]


@given(
    st.floats(-50, 50),
    st.floats(0.01, 30),
    st.lists(st.integers(0, 300), min_size=2, max_size=40, unique=True),
)
def test_standardised_codes_come_back(shift: float, scale: float, codes: list[int]) -> None:
    whole = np.array(sorted({0, 1, *codes}), dtype=float)
    found = lattice(shift + scale * whole)
    assert found is not None
    assert found.tolist() == whole.tolist()


def test_fractions_are_no_lattice() -> None:
    assert lattice(np.random.default_rng(0).normal(size=50)) is None


@pytest.mark.parametrize("seed", range(10))
def test_codes_are_told_from_quantities(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(40, 0.5))
    codes = rng.choice(40, 5000, p=shares).astype(float)
    assert looks_like_codes(codes)
    assert looks_like_codes((codes - codes.mean()) / codes.std())
    for quantity in (
        rng.poisson(12, 5000),
        rng.geometric(0.1, 5000) - 1,
        rng.integers(0, 24, 5000),
        np.clip(rng.normal(40, 12, 5000), 0, 100).round(),
        np.minimum(rng.lognormal(1, 1, 5000), 500).round(),
    ):
        assert looks_like_codes(quantity.astype(float)) is None
