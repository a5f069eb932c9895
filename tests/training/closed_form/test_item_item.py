"""`Ease` and `ItemMatrix`: the textbook formula, its factors, folding in, cold items, the search, a refit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
from scipy.sparse import csr_array

import twotower as tt
from twotower.errors import ConfigError, TrainingError
from twotower.targets.target import history_grades
from twotower.training.closed_form import item_matrix
from twotower.training.closed_form.grade_rows import Grades
from twotower.training.closed_form.item_item import UNIT
from twotower.training.closed_form.item_item_search import Search, widths_for
from twotower.training.closed_form.item_matrix import ItemMatrix, SpectralMatrix, WholeMatrix

N_USERS, N_ITEMS = 60, 14


def grades(seed: int = 0, n_items: int = N_ITEMS) -> np.ndarray:
    """Grades of users that like one of two halves of the items."""
    rng = np.random.default_rng(seed)
    same = (np.arange(N_USERS)[:, None] % 2) == (np.arange(n_items)[None] % 2)
    had = rng.random((N_USERS, n_items)) < np.where(same, 0.5, 0.1)
    had[:n_items][np.eye(n_items, dtype=bool)] = True
    return np.where(had, rng.uniform(0.2, 1.0, had.shape), 0.0).astype(np.float32)


def weighted(X: np.ndarray) -> np.ndarray:
    """Rows times the root of the user's weight, 1 / sqrt(sum of grades)."""
    X = X.astype(np.float64)
    return X / np.maximum(X.sum(axis=1, keepdims=True), 1e-30) ** 0.25


def ridges(X: np.ndarray, strength: float) -> np.ndarray:
    squares = np.square(weighted(X)).sum(axis=0)
    return strength * np.sqrt(squares * squares.mean())


def textbook(X: np.ndarray, strength: float) -> np.ndarray:
    """Each column by itself: the ridge regression of an item on all others."""
    B, ridge, X = np.zeros((X.shape[1], X.shape[1])), ridges(X, strength), weighted(X)
    for j in range(X.shape[1]):
        others = np.delete(np.arange(X.shape[1]), j)
        A = X[:, others]
        B[others, j] = np.linalg.solve(A.T @ A + np.diag(ridge[others]), A.T @ X[:, j])
    return B


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_the_matrix_is_a_ridge_regression_of_each_item_on_all_others(
    strength: float, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if single:
        monkeypatch.setattr(item_matrix, "SINGLE_FROM", 0)
    X, expected = grades(), textbook(grades(), strength)
    made = ItemMatrix.of(Grades(csr_array(X)), N_ITEMS + 3, seed=0)
    assert isinstance(made, WholeMatrix)
    npt.assert_allclose(made.weights(strength), expected, atol=2e-5 if single else 1e-6)
    left, right = made.factors(strength)
    assert left.shape == right.shape == (N_ITEMS, N_ITEMS + 3)
    npt.assert_allclose(left @ right.T, expected, atol=5e-5)


def test_narrow_factors_are_the_best_of_their_width_for_the_users_scores() -> None:
    X, k = grades(), 5
    scores = weighted(X) @ textbook(X, 1.0)
    left, right = WholeMatrix(Grades(csr_array(X)), k, seed=0).factors(1.0)
    U, S, V = np.linalg.svd(scores)
    npt.assert_allclose(
        weighted(X) @ left @ right.T, (U[:, :k] * S[:k]) @ V[:k], atol=1e-3
    )  # Eckart and Young


def test_of_all_eigenvectors_the_spectral_factors_are_exact_but_for_the_diagonal() -> None:
    X, expected = grades(), textbook(grades(), 1.0)
    left, right = SpectralMatrix(Grades(csr_array(X)), N_ITEMS, seed=0).factors(1.0)
    found = (left.astype(np.float64) @ right.T) * (1.0 - np.eye(N_ITEMS))
    npt.assert_allclose(found, expected, atol=1e-4)


def test_spectral_factors_of_some_eigenvectors() -> None:
    """Against the definition, with the inverse of a Gramian that has the first eigenvectors alone."""
    X, k = grades(), 4
    r = ridges(X, 2.0)
    values, Q = np.linalg.eigh(np.diag(r**-0.5) @ (weighted(X).T @ weighted(X)) @ np.diag(r**-0.5))
    Q, values = Q[:, -k:], values[-k:]
    P = np.diag(r**-0.5) @ np.linalg.inv(np.eye(N_ITEMS) + (Q * values) @ Q.T) @ np.diag(r**-0.5)
    expected = -P / np.diag(P)
    np.fill_diagonal(expected, 0.0)
    left, right = SpectralMatrix(Grades(csr_array(X)), k, seed=0).factors(2.0)
    npt.assert_allclose((left @ right.T) * (1.0 - np.eye(N_ITEMS)), expected, atol=1e-4)


def test_many_items_have_spectral_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_matrix, "MOST_SOLVED", N_ITEMS - 1)
    assert isinstance(ItemMatrix.of(Grades(csr_array(grades())), 4, seed=0), SpectralMatrix)


# models


def tables(X: np.ndarray, *, labelled: bool = True, cold: int = 0) -> tt.Dataset:
    """Rows of a matrix, with items that have the half they belong to as a feature, some without rows."""
    user, item = np.nonzero(X)
    rows: dict[str, Any] = {"user_id": user, "item_id": item}
    schema: dict[str, Any] = {"items": {"half": "category"}}
    if labelled:
        rows["y"], schema["label"] = X[user, item].astype(np.float64), "y"
    ids = np.arange(X.shape[1] + cold)
    items = pl.DataFrame({"item_id": ids, "half": [f"h{i % 2}" for i in ids]})
    return tt.Dataset.of(pl.DataFrame(rows), items=items, schema=schema)


def fitted(data: tt.Dataset, **settings: Any) -> tt.Recommender:
    given = {"kind": "item_item", "objective": "all_pairs", "threads": 1, **settings}
    return tt.TwoTower(**given).fit(data.as_train(), progress=False)


@pytest.mark.parametrize("labelled", [True, False])
def test_scores_are_those_of_the_formula(labelled: bool) -> None:
    X = grades()
    model = fitted(tables(X, labelled=labelled), dim=N_ITEMS + 2, regularisation=2.0 / UNIT)
    Y = (X > 0).astype(np.float64)
    if labelled:
        rule, objective = model.training.positive, model.training.objective
        Y[X > 0] = history_grades(rule, objective, X[X > 0].astype(np.float64), None, int(Y.sum()))
        assert 0.2 <= Y[X > 0].min() < 0.25
        assert Y.max() == 1.0
    users, items = model.catalogue.users, model.catalogue.items
    U = users.vectors[users.rows(pl.Series(range(N_USERS)))]
    V = items.vectors[items.rows(pl.Series(range(N_ITEMS)))]
    npt.assert_allclose(U @ V.T, Y @ textbook(Y, 2.0), atol=1e-5)


def test_a_new_user_with_the_history_of_a_known_one_has_its_vector() -> None:
    X = grades()
    model = fitted(tables(X), dim=8, regularisation=2.0 / UNIT)
    items = np.flatnonzero(X[3])
    query = tt.Query(history=items.tolist(), labels=X[3, items].astype(np.float64).tolist())
    known = model.recommend([3], k=5)
    new = model.recommend(query, k=5)
    assert new["item_id"].to_list() == known["item_id"].to_list()
    npt.assert_allclose(new["score"], known["score"], atol=1e-5)
    twice = tt.Query(history=[*items.tolist(), int(items[0])], labels=[*X[3, items].tolist(), 0.2])
    npt.assert_allclose(model.recommend(twice, k=5)["score"], known["score"], atol=1e-5)


def test_explanations_are_the_entries_of_the_matrix() -> None:
    X = grades()
    model = fitted(tables(X, labelled=False), dim=N_ITEMS + 2, regularisation=2.0 / UNIT)
    B = textbook((X > 0).astype(np.float64), 2.0)
    history = [0, 4, 6]
    found = model.explain(tt.Query(history=history), [1, 2])
    for row in found.iter_rows(named=True):
        npt.assert_allclose(row["contribution"], B[row["because_item_id"], row["item_id"]], atol=1e-5)


def test_cold_items_have_vectors_from_features_in_histories_and_as_candidates() -> None:
    X = grades()
    model = fitted(tables(X, labelled=False, cold=2), dim=8, regularisation=2.0 / UNIT)  # 14 is even, 15 odd
    users, items = model.catalogue.users.vectors, model.catalogue.items
    cold = items.vectors[items.rows(pl.Series([N_ITEMS, N_ITEMS + 1]))]
    gap = (users @ cold.T) @ [1.0, -1.0]
    assert gap[::2].mean() > 0.05  # these users like even items
    assert gap[1::2].mean() < -0.05
    by_cold = model.recommend(tt.Query(history=[N_ITEMS]), k=5)["item_id"].to_numpy()
    assert (by_cold % 2 == 0).all()


def test_a_user_of_whom_nothing_is_known_is_recommended_what_is_popular() -> None:
    X = np.zeros((N_USERS, 6), np.float32)
    rng = np.random.default_rng(0)
    for item, share in enumerate((0.1, 0.2, 0.3, 0.5, 0.7, 0.9)):
        X[:, item] = rng.random(N_USERS) < share
    model = fitted(tables(X, labelled=False), dim=10, regularisation=1.0 / UNIT)
    assert model.recommend(tt.Query(history=[]), k=6)["item_id"].to_list()[:2] == [5, 4]


class Told(tt.Callback):
    """Keeps what was chosen."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_choice(self, *, line: str) -> None:
        self.lines.append(line)


def test_validation_chooses_width_and_ridge_and_a_refit_takes_them() -> None:
    rng = np.random.default_rng(1)
    X = np.tile(grades(n_items=40), (5, 1)) * (rng.random((300, 40)) < 0.8)
    data, told = tables(X, labelled=False), Told()
    given = {"kind": "item_item", "objective": "all_pairs", "threads": 1}
    model = tt.TwoTower(**given).fit(data.as_train(), progress=False, callbacks=[told])
    (line,) = told.lines
    found = re.fullmatch(
        r"chose dim (\d+), regularisation ([\d.e-]+)(?:, popularity ([-\d.]+))? \(dims .*42 0\.\d{4}\)", line
    )
    assert found is not None, line
    dim, regularisation = model.model.dim, model.training.objective.regularisation
    assert dim == int(found[1])
    assert dim in (42, 64)
    npt.assert_allclose(regularisation, float(found[2]), rtol=0.05)
    assert [one["phase"] for one in model.history] == ["train", "refit"]
    assert model.model.config.popularity == float(found[3] or 0)
    again = fitted(data, dim=dim, regularisation=regularisation, popularity=model.model.config.popularity)
    npt.assert_allclose(again.catalogue.items.vectors, model.catalogue.items.vectors, atol=1e-6)


def best_of(worth: Any, widths: list[int], *, along: bool = True) -> tuple[int, float, list[int]]:
    """The choice for a metric of (width, regularisation), and the widths that were solved for."""
    solved: list[int] = []
    search = Search[int](
        lambda dim: solved.append(dim) or dim,
        lambda _, regularisation, popularity, dim: worth(dim, regularisation),
    )
    found = search.choose(widths, 0.33, along=along, lean=False)
    return found.dim, found.regularisation, solved


def test_the_search_goes_wider_as_long_as_it_gains_and_narrower_as_long_as_it_costs_nothing() -> None:
    widths = widths_for(1000, 5000, 2048)
    assert widths == [64, 128, 256, 512, 1024, 2048]

    def gains(dim: int, regularisation: float) -> float:
        return dim / (dim + 400) - 0.1 * np.log(regularisation / 3.0) ** 2

    dim, regularisation, solved = best_of(gains, widths)
    assert (dim, solved) == (2048, [512, 1024, 2048])
    npt.assert_allclose(regularisation, 3.0, rtol=1e-6)  # the vertex of the parabola
    assert best_of(lambda dim, _: 1.0 - 1.0 / dim, widths) == (512, 0.33, [512, 1024])
    assert best_of(lambda dim, _: 9.0 - abs(np.log2(dim / 128)), widths) == (128, 0.33, [512, 1024])
    assert best_of(lambda dim, _: 1.0 - 1.0 / dim, [64], along=False) == (64, 0.33, [64])


@pytest.mark.parametrize("best", [0.0, -0.15, -0.3])
def test_the_search_takes_popularity_away_as_long_as_that_gains(best: float) -> None:
    search = Search[int](lambda dim: dim, lambda dim, ridge, exponent, width: 1.0 - (exponent - best) ** 2)
    found = search.choose([64], 0.33, along=False, lean=True)
    assert found.popularity == best
    assert ("popularity" in str(found)) == (best != 0.0)


def test_popularity_to_a_power_multiplies_the_scores_of_an_item() -> None:
    X = grades()
    Y = (X > 0).astype(np.float64)
    plain, less = (
        fitted(tables(X, labelled=False), dim=N_ITEMS + 2, regularisation=2.0 / UNIT, popularity=power)
        for power in (0.0, -0.5)
    )
    squares = np.square(weighted(Y)).sum(axis=0)
    ids = pl.Series(range(N_ITEMS))
    V, W = (one.catalogue.items.vectors[one.catalogue.items.rows(ids)] for one in (plain, less))
    power = (squares / squares.mean())[:, None] ** -0.5
    npt.assert_allclose(W[:, :N_ITEMS], V[:, :N_ITEMS] * power, atol=1e-5)


def test_widths_end_where_the_matrix_is_whole_or_takes_too_long() -> None:
    assert widths_for(1000, 300, 2048) == [64, 128, 256, 302]
    assert widths_for(1000, 300, 100) == [64, 100]
    assert widths_for(10_000_000, 100_000, 2048) == [64, 128, 256, 512]


def test_the_training_loss_is_that_of_every_pair_predicted_from_the_others() -> None:
    X = (grades() > 0).astype(np.float64)
    model = fitted(tables(X, labelled=False), dim=N_ITEMS + 2, regularisation=2.0 / UNIT, refit=True)
    loss = [one["train_loss"] for one in model.history if one["phase"] == "refit"][-1]
    npt.assert_allclose(loss, np.square(X - X @ textbook(X, 2.0)).sum() / X.sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unobserved_weight": 0.1}, r"objective.unobserved_weight = 0.1 has no effect on trainer 'ease'"),
        (
            {"objective": "softmax"},
            "no trainer can train towers of kind 'item_item' by objective 'softmax'; use",
        ),
        ({"normalise": True}, "no trainer can train towers of kind 'item_item' that are normalised"),
        ({"ensemble_size": 2}, "ensemble_size must be 1"),
    ],
)
def test_settings_without_effect_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tt.TwoTower(**{"kind": "item_item", "objective": "all_pairs", **settings})


def test_weights_of_interactions_are_refused() -> None:
    rows = pl.DataFrame({"user_id": [0, 0, 1, 1], "item_id": [0, 1, 1, 2], "w": [1.0, 2.0, 1.0, 1.0]})
    data = tt.Dataset.of(rows, schema={"weight": "w"})
    with pytest.raises(
        ConfigError, match=r"can't weigh interactions; got weights from 0.8 to 1.6: leave out"
    ):
        tt.TwoTower(kind="item_item", objective="all_pairs").fit(data.as_train(), data, progress=False)


def test_a_ridge_too_small_for_the_precision_is_one_error() -> None:
    X = np.ones((6, 5), np.float32)
    with pytest.raises(TrainingError, match=r"the loss must stay finite.*Raise objective.regularisation"):
        fitted(tables(X, labelled=False), dim=4, regularisation=1e-40)


def test_a_bundle_has_the_same_vectors(tmp_path: Path) -> None:
    model = fitted(tables(grades()), dim=8, regularisation=2.0 / UNIT)
    model.save(tmp_path / "bundle")
    again = tt.load(tmp_path / "bundle")
    query = tt.Query(history=[0, 5], labels=[1.0, 0.3])
    assert again.recommend(query, k=5).equals(model.recommend(query, k=5))
    assert again.recommend([1, 2], k=5).equals(model.recommend([1, 2], k=5))
