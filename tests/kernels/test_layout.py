"""`VectorLayout` against vectors written out number by number, and against those of fitted models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

import twotower as tt
from twotower.kernels.layout import VectorLayout

LAYOUT = VectorLayout(dim=8, members=2)
OUTPUTS = np.array([[1.0, 2.0, 10.0, 3.0, 4.0, 20.0], [5.0, 6.0, 30.0, 7.0, 8.0, 40.0]])


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_vectors_of_outputs(kind: Any) -> None:
    latent, bias = LAYOUT.of_outputs(kind(OUTPUTS))
    assert latent.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert bias.tolist() == [[[10], [20]], [[30], [40]]]
    users, items = LAYOUT.users(latent, bias), LAYOUT.items(latent, bias)
    assert users.tolist() == [[1, 2, 10, 1, 3, 4, 20, 1], [5, 6, 30, 1, 7, 8, 40, 1]]
    assert items.tolist() == [[1, 2, 1, 10, 3, 4, 1, 20], [5, 6, 1, 30, 7, 8, 1, 40]]
    for vectors in (users, items):
        assert LAYOUT.latent(vectors).tolist() == latent.tolist()
    assert LAYOUT.parts(users)[:, 1].tolist() == [[3, 4, 20, 1], [7, 8, 40, 1]]
    # u . v + b_u + b_i, summed over the members
    npt.assert_allclose((users @ items.T)[0, 1], (5 + 12 + 10 + 30) + (21 + 32 + 20 + 40))
    before = users @ items.T
    LAYOUT.shift(users, 0.5)
    npt.assert_allclose(users @ items.T, before + 0.5)


def test_places_among_the_outputs() -> None:
    assert [own.tolist() for own in LAYOUT.outputs] == [[0, 1, 2], [3, 4, 5]]
    assert OUTPUTS[:, LAYOUT.biases].tolist() == [[10, 20], [30, 40]]
    assert OUTPUTS[:, :3][:, VectorLayout(4).biases].tolist() == [[10], [30]]


def test_the_same_memory() -> None:
    vectors = torch.zeros(3, 8)
    LAYOUT.latent(vectors)[:, 1] += 1.0
    assert vectors[0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize("settings", [{"objective": "squared"}, {"ensemble_size": 2}], ids=["squared", "als"])
def test_a_fitted_model_has_the_bits_of_the_formula(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"user": rng.integers(0, 30, 600), "item": rng.integers(0, 20, 600)})
    table = table.unique(maintain_order=True)
    table = table.with_columns(y=pl.Series(rng.random(len(table)) + 2.0))
    schema = tt.Schema(user="user", item="item", label="y")
    data = tt.Dataset.of(table, schema=schema).as_train()
    model = tt.TwoTower(dim=16, epochs=2, refit=False, threads=1, **settings).fit(data)
    layout, U, V = model.model.layout, model.users.vectors, model.items.vectors
    assert (layout.dim, layout.members) == (16, 2)
    for first in (0, 8):  # each member's vector ends with a bias and 1, or with 1 and a bias
        npt.assert_array_equal(V[:, first + 6], 1.0)
        npt.assert_array_equal(U[:, first + 7], np.float32(model.target.sd) / 2)
    latent = np.ascontiguousarray(V[:, [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]])
    length = np.linalg.norm(latent, axis=1, keepdims=True)
    npt.assert_array_equal(model.directions(V), latent / length)
