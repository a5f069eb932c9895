"""`WideRidge` against scikit-learn, and what it says of new rows."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
import torch
from sklearn.linear_model import Ridge

from twotower.features import Bag, Dense, EncodedSide
from twotower.towers import LinearTower, SideArrays
from twotower.towers.linear import LinearConfig
from twotower.training.closed_form import feature_ridge, wide_ridge
from twotower.training.closed_form.feature_ridge import Design, FeatureRidge
from twotower.training.closed_form.wide_ridge import WideRidge, for_newcomers

ROWS, TAGS, D = 400, 60, 3


def side(rows: int = ROWS, seed: int = 0, least: int = 1) -> SideArrays:
    """Lists of tags, of which code 2 + TAGS is the last, and a number; code 0 is unknown."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(least, 8, rows)
    indptr = np.append(0, np.cumsum(lengths)).astype(np.int64)
    codes = rng.integers(0, 2 + TAGS, int(indptr[-1])).astype(np.int32)
    number = Dense(rng.normal(size=(rows, 1)).astype(np.float32))
    blocks = {"x": number, "tags": Bag(indptr, codes, 2 + TAGS)}
    return SideArrays.pack(EncodedSide(np.arange(1, rows + 1, dtype=np.int32), blocks), torch.device("cpu"))


def tower(arrays: SideArrays) -> LinearTower:
    config = LinearConfig(dim=D + 2, ensemble_size=1)
    return LinearTower(arrays.shape, ROWS, config, torch.Generator().manual_seed(0))


def truth(arrays: SideArrays, noise: float) -> np.ndarray:
    """Vectors of a linear tower, and noise."""
    made, rng = tower(arrays), np.random.default_rng(1)
    with torch.no_grad():
        made.table.add_(torch.from_numpy(rng.normal(size=made.table.shape).astype(np.float32)))
        said = made.from_features(arrays)[:, :D].numpy()
    return (said + noise * rng.normal(size=said.shape)).astype(np.float32)


def test_it_is_scikit_learns_at_the_strength_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_ridge, "STEPS", 60)
    z, weight = truth(side(), 0.5), np.random.default_rng(2).uniform(0.5, 2.0, ROWS)
    design = Design.of(side(), least=1, most=99)
    ridge = WideRidge(design, weight)
    found = ridge.fit(z)
    strength = ridge.chosen((z - np.average(z, axis=0, weights=weight)).astype(np.float32))
    assert strength is not None
    x = design.matrix.toarray()
    fitted = Ridge(alpha=strength).fit(x, z, sample_weight=weight / weight.mean())
    npt.assert_allclose(x @ found.weights + found.constant, fitted.predict(x), atol=1e-3)


def test_the_strength_is_the_best_of_all_for_rows_not_seen() -> None:
    z, weight = truth(side(), 2.0), np.ones(ROWS)
    design = Design.of(side(), least=1, most=99)
    ridge = WideRidge(design, weight)
    centred = (z - z.mean(axis=0)).astype(np.float32)
    x, out = design.matrix.toarray(), ridge.held_out
    errors = {
        strength: np.square(
            centred[out] - Ridge(alpha=strength).fit(x[~out], centred[~out]).predict(x[out])
        ).sum()
        for strength in wide_ridge.STRENGTHS
    }
    assert ridge.chosen(centred) == min(errors, key=lambda one: errors[one])


def test_tags_that_tell_nothing_leave_the_mean() -> None:
    z = np.random.default_rng(3).normal(size=(ROWS, D)).astype(np.float32)
    weights = WideRidge(Design.of(side(), least=1, most=99), np.ones(ROWS)).fit(z).weights
    assert np.abs(weights).max() < 0.5


def test_new_rows_are_predicted_from_more_tags_than_the_exact_solution_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_ridge, "MOST_CODES", 10)
    z, new = truth(side(), 0.2), side(seed=5)
    expected, errors = truth(new, 0.0), []
    for ridge in (for_newcomers(side(), np.ones(ROWS)), FeatureRidge(Design.of(side()), np.ones(ROWS))):
        made = tower(side())
        ridge.write(ridge.fit(z), made, np.arange(D))
        with torch.no_grad():
            said = made.from_features(new)[:, :D].numpy()
        errors.append(np.square(said - expected).sum() / np.square(expected - z.mean(axis=0)).sum())
    assert errors[0] < 0.1
    assert errors[1] > 0.5


def test_few_codes_are_solved_exactly() -> None:
    assert isinstance(for_newcomers(side(), np.ones(ROWS)), FeatureRidge)
