"""`FeatureRidge` against leave-one-out regressions fitted one by one, and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch
from sklearn.linear_model import Ridge

from twotower.features import Bag, Codes, Dense, EncodedSide
from twotower.towers import LinearTower, SideArrays
from twotower.towers.linear import LinearConfig
from twotower.training.closed_form import feature_ridge
from twotower.training.closed_form.feature_ridge import Design, FeatureRidge

ROWS, D = 60, 3
CPU = torch.device("cpu")


def side(rows: int = ROWS, seed: int = 0) -> SideArrays:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 4, rows)
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int64)
    blocks: dict[str, Any] = {
        "x": Dense(rng.normal(size=(rows, 2)).astype(np.float32)),
        "c": Codes((2 + np.arange(rows) % 3).astype(np.int32), 6),
        "l": Bag(indptr, rng.integers(2, 6, int(indptr[-1])).astype(np.int32), 7),
    }
    return SideArrays.pack(EncodedSide(np.arange(1, rows + 1, dtype=np.int32), blocks), CPU)


def design(arrays: SideArrays) -> np.ndarray:
    """Numbers, then a column per code; each entry of a list counts one by the root of the list's length."""
    table = np.zeros((arrays.rows, arrays.shape.n_codes))
    for row in range(arrays.rows):
        table[row, arrays.codes[row].numpy()] += 1.0
        for indptr, codes in arrays.bags:
            own = codes[indptr[row] : indptr[row + 1]].numpy()
            np.add.at(table[row], own, 1.0 / len(own) ** 0.5)
    return np.concatenate([arrays.dense.numpy(), table], axis=1)


def vectors(told: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    x = design(side())
    said = x @ rng.normal(size=(x.shape[1], D))
    return (told * said + rng.normal(size=(ROWS, D))).astype(np.float32)


@pytest.fixture
def one_strength(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(feature_ridge, "STRENGTHS", (3.0,))
    return 3.0


def test_honest_is_what_a_regression_without_the_row_says(one_strength: float) -> None:
    z, x = vectors(3.0), design(side())
    weight = np.random.default_rng(2).uniform(0.5, 2.0, ROWS)
    found = FeatureRidge(Design.of(side()), weight).fit(z)
    weight /= weight.mean()
    for row in (0, 7, ROWS - 1):
        others = np.arange(ROWS) != row
        fitted = Ridge(alpha=one_strength).fit(x[others], z[others], sample_weight=weight[others])
        # the leverage approximates the constant's share by that of the mean
        npt.assert_allclose(found.honest[row], fitted.predict(x[row : row + 1])[0], atol=2e-3)


def test_all_rows_together_are_scikit_learns(one_strength: float) -> None:
    z, x = vectors(3.0), design(side())
    weight = np.random.default_rng(2).uniform(0.5, 2.0, ROWS)
    ridge = FeatureRidge(Design.of(side()), weight)
    found = ridge.fit(z)
    fitted = Ridge(alpha=one_strength).fit(x, z, sample_weight=weight / weight.mean())
    said = ridge.design @ found.weights + found.constant
    npt.assert_allclose(said, fitted.predict(x), atol=1e-4)


def test_a_tower_says_what_was_found() -> None:
    z = vectors(3.0)
    ridge = FeatureRidge(Design.of(side()), np.ones(ROWS))
    found = ridge.fit(z)
    config = LinearConfig(dim=D + 2, ensemble_size=1)
    tower = LinearTower(side().shape, ROWS, config, torch.Generator().manual_seed(0))
    ridge.write(found, tower, np.arange(D))
    said = tower.from_features(side()).detach().numpy()
    npt.assert_allclose(said[:, :D], ridge.design @ found.weights + found.constant, atol=1e-4)
    npt.assert_array_equal(said[:, D:], 0.0)


def test_a_code_that_no_row_had_says_what_the_mean_row_says_there() -> None:
    ridge = FeatureRidge(Design.of(side()), np.ones(ROWS))
    found = ridge.fit(vectors(3.0))
    tower = LinearTower(
        side().shape, ROWS, LinearConfig(dim=D + 2, ensemble_size=1), torch.Generator().manual_seed(0)
    )
    ridge.write(found, tower, np.arange(D))
    table = tower.features.detach().numpy()[:, :D]
    npt.assert_allclose(table[0], table[2:5].mean(axis=0), atol=1e-5)  # three codes, equally frequent


def test_features_that_tell_nothing_are_left_out() -> None:
    z = vectors(0.0)
    found = FeatureRidge(Design.of(side()), np.ones(ROWS)).fit(z)
    told = np.square(found.honest - z.mean(axis=0)).sum() / np.square(z - z.mean(axis=0)).sum()
    assert told < 0.15


def test_features_that_tell_most_explain_most() -> None:
    z = vectors(3.0)
    found = FeatureRidge(Design.of(side()), np.ones(ROWS)).fit(z)
    left = np.square(z - found.honest).sum() / np.square(z - z.mean(axis=0)).sum()
    assert left < 0.2


def test_a_direction_that_is_told_and_one_that_is_not() -> None:
    rng = np.random.default_rng(3)
    told = vectors(3.0)[:, :1] * 3.0
    untold = rng.normal(size=(ROWS, 1)).astype(np.float32)
    z = np.concatenate([told, untold], axis=1)
    found = FeatureRidge(Design.of(side()), np.ones(ROWS)).fit(z)
    left = np.square(z - found.honest).sum(axis=0) / np.square(z - z.mean(axis=0)).sum(axis=0)
    assert left[0] < 0.2
    assert left[1] < 1.05


def test_without_features_there_is_the_mean() -> None:
    bare = SideArrays.pack(EncodedSide(np.arange(1, 6, dtype=np.int32), {}), CPU)
    z = np.arange(10, dtype=np.float32).reshape(5, 2)
    weight = np.array([1.0, 1.0, 1.0, 1.0, 4.0])
    found = FeatureRidge(Design.of(bare), weight).fit(z)
    npt.assert_allclose(found.constant, np.average(z, axis=0, weights=weight))
    npt.assert_allclose(found.honest, np.tile(found.constant, (5, 1)), rtol=1e-6)


@pytest.mark.parametrize("each", [np.arange(12, 2, -1), np.full(10, 5)])
def test_only_the_most_frequent_codes_have_weights(each: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ties at the last position, not all equally frequent codes are taken."""
    monkeypatch.setattr(feature_ridge, "MOST_CODES", 4)
    codes = np.repeat(np.arange(2, 12), each).astype(np.int32)
    arrays = SideArrays.pack(
        EncodedSide(np.arange(1, len(codes) + 1, dtype=np.int32), {"c": Codes(codes, 12)}), CPU
    )
    design = Design.of(arrays)
    assert design.matrix.shape == (len(codes), 4)
    npt.assert_array_equal(design.matrix.toarray().sum(axis=0), each[:4])


def test_rows_without_any_weight_count_alike() -> None:
    z = vectors(3.0)
    none, alike = (
        FeatureRidge(Design.of(side()), weight).fit(z) for weight in (np.zeros(ROWS), np.ones(ROWS))
    )
    npt.assert_array_equal(none.honest, alike.honest)
