"""`TwoTower.fit`: what it learns, that bits repeat, and that a broken run goes on to the same ones."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch

from twotower.config.kinds import kind_of
from twotower.data.dataset import Dataset, TrainPart
from twotower.data.splitting import carve_validation, split
from twotower.errors import ConfigError, TrainingError, TrainPartError, TwoTowerError
from twotower.estimator import TwoTower
from twotower.recommender import Recommender
from twotower.recommender.query import Query
from twotower.towers import tower
from twotower.training import Callback, Checkpoint, Interrupted, Record

N_USERS, N_ITEMS = 60, 50
QUICK: dict[str, Any] = {
    "objective": "squared",
    "dim": 8,
    "kind": "mlp",
    "hidden": (8,),
    "embedding_dim": 3,
    "batch_size": 500,
    "threads": 1,
    "epochs": 3,
}


def planted(n: int = 2400, *, seed: int = 0, noise: float = 0.1, offset: float = 3.0) -> Dataset:
    """Labels of rank 2 with biases; items have the two numbers behind them as a feature."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(N_USERS, 2)), rng.normal(size=(N_ITEMS, 2))
    cell = rng.choice(N_USERS * N_ITEMS, n, replace=False)
    user, item = cell // N_ITEMS, cell % N_ITEMS
    label = offset + 0.3 * p[user, 0] + (p[user] * q[item]).sum(axis=1) + noise * rng.normal(size=n)
    events = pl.DataFrame({"user_id": user, "item_id": item, "y": label})
    users = pl.DataFrame({"user_id": np.arange(N_USERS), "group": (np.arange(N_USERS) % 4).astype(str)})
    items = pl.DataFrame(
        {
            "item_id": np.arange(N_ITEMS),
            "face": q.astype(np.float32).tolist(),
            "tags": [[f"t{i % 3}", f"s{i % 5}"] for i in range(N_ITEMS)],
            "length": (np.arange(N_ITEMS) % 7 + 3).astype(float),
            "name": [f"item {i}" for i in range(N_ITEMS)],
        }
    )
    schema = {
        "label": "y",
        "duration": "length",
        "users": {"group": "category"},
        "items": {"face": "vector", "tags": "categories"},
        "display": ["name"],
    }
    return Dataset.of(events, users, items, schema=schema)


def bits(model: Recommender) -> list[np.ndarray]:
    """Everything that a fitted model is made of."""
    weights = [value.numpy() for _, value in sorted(model.model.state_dict().items())]
    return [*weights, model.users.vectors, model.items.vectors]


def same(one: Recommender, two: Recommender) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(bits(one), bits(two), strict=True))


def rmse(predicted: np.ndarray, label: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - label) ** 2)))


def labels(data: Dataset) -> np.ndarray:
    return data.interactions.get_column("y").to_numpy()


def least_squares_biases(train: Dataset, test: Dataset) -> np.ndarray:
    """Predictions of the best ``mean + user + item``, by a plain solver."""

    def design(data: Dataset) -> np.ndarray:
        user, item = (data.interactions.get_column(c).to_numpy() for c in ("user_id", "item_id"))
        return np.concatenate([np.eye(N_USERS)[user], np.eye(N_ITEMS)[item]], axis=1)

    fitted = np.linalg.lstsq(design(train), labels(train), rcond=None)[0]
    return design(test) @ fitted


# learning


@pytest.fixture(scope="module")
def planted_fit() -> tuple[Recommender, TrainPart, Dataset]:
    train, test = split(planted(), test=0.15, seed=1)
    settings: dict[str, Any] = {
        **QUICK,
        "epochs": 60,
        "dropout": 0.0,
        "id_dropout": 0.0,
        "regularisation": 0.01,
    }
    return (
        TwoTower(**{**settings, "kind": "mlp", "hidden": (16,), "learning_rate": 0.02}).fit(train),
        train,
        test,
    )


def test_a_planted_signal_is_found(planted_fit: tuple[Recommender, TrainPart, Dataset]) -> None:
    model, train, test = planted_fit
    ours, biases = (
        rmse(model.predict(test), labels(test)),
        rmse(least_squares_biases(train, test), labels(test)),
    )
    assert biases > 0.8, "the data is too easy to tell"
    assert ours < 0.5 * biases


def test_a_planted_signal_is_solved_for() -> None:
    train, test = split(planted(), test=0.15, seed=1)
    model = TwoTower(objective="squared", dim=16, ensemble_size=1).fit(train)
    ours, biases = (
        rmse(model.predict(test), labels(test)),
        rmse(least_squares_biases(train, test), labels(test)),
    )
    assert not model.model.config.widths
    assert ours < 0.3 * biases


def test_someone_folded_in_from_labels_is_predicted_as_well_as_when_trained_on() -> None:
    train, test = split(planted(), test=0.15, seed=1)
    model = TwoTower(objective="squared", dim=16, ensemble_size=1).fit(train)
    users = test.interactions["user_id"].unique().sort()
    known = train.interactions.group_by("user_id").agg("item_id", "y")
    known = users.to_frame().join(known, on="user_id", how="left", maintain_order="left")
    U = model.encode_queries([Query(history=i, labels=y) for i, y in known.select("item_id", "y").rows()])
    V = model.items.vectors[model.items.rows(test.interactions["item_id"])]
    folded = (U[users.search_sorted(test.interactions["user_id"]).to_numpy()] * V).sum(axis=1)
    assert model.least_squares.population
    assert rmse(folded, labels(test)) < 1.3 * rmse(model.predict(test), labels(test))


def test_history_tells_both_phases(planted_fit: tuple[Recommender, TrainPart, Dataset]) -> None:
    history = planted_fit[0].history
    first = [record for record in history if record["phase"] == "train"]
    second = [record for record in history if record["phase"] == "refit"]
    between = [record for record in history if record["phase"] == "posterior"]
    assert history == first + between + second
    assert len(between) <= 1
    best = min(first, key=lambda record: record["validation_loss"])["epoch"]
    assert [record["epoch"] for record in second] == list(range(1, best + 1))
    rates = [record["learning_rate"] for record in first[:best]]
    assert [record["learning_rate"] for record in second] == rates
    assert {"validation_loss", "validation_rmse", "validation_mae"} <= first[0].keys()
    assert "validation_loss" not in second[0]


def test_cold_items_are_predicted_from_their_features() -> None:
    data = planted(noise=0.05)
    train, test = split(data, "cold_items", test=0.2, seed=3)
    settings: dict[str, Any] = {
        **QUICK,
        "kind": "mlp",
        "hidden": (32,),
        "epochs": 60,
        "learning_rate": 0.02,
        "regularisation": 0.01,
    }
    model = TwoTower(**{**settings, "dropout": 0.0, "id_dropout": 0.5}).fit(train)
    warm = set(train.interactions["item_id"].to_list())
    assert warm.isdisjoint(test.interactions["item_id"].to_list())
    mean = np.full(len(test), labels(train).mean())
    assert rmse(model.predict(test), labels(test)) < 0.7 * rmse(mean, labels(test))
    assert not model.items.warm[[i for i in range(N_ITEMS) if i not in warm]].any()


def test_validation_figures_are_those_of_the_model_it_leaves() -> None:
    train, test = split(planted(), seed=1)
    smaller, validation = split(train, test=0.2, seed=2)
    model = TwoTower(**QUICK, refit=False).fit(smaller, validation)
    best = min(model.history, key=lambda record: record["validation_loss"])
    predicted = model.predict(validation)
    inside = (predicted > labels(smaller).min()) & (predicted < labels(smaller).max())
    assert inside.all()
    assert best["validation_rmse"] == pytest.approx(rmse(predicted, labels(validation)), rel=1e-4)
    assert best["validation_mae"] == pytest.approx(np.abs(predicted - labels(validation)).mean(), rel=1e-4)
    sd = labels(smaller).std()
    assert best["validation_loss"] == pytest.approx(best["validation_rmse"] ** 2 / sd**2, rel=1e-3)
    assert len(test)


class Heard(Callback):
    """Keeps what it is told but for the epochs, and of the steps of a posterior the share done."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.phase, self.pairs = "", 0

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        self.phase, self.pairs = phase, pairs
        self.said.append(phase)

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        if self.phase == "posterior":
            assert epoch == 1
            assert np.isnan(loss)
            self.said.append(pairs_done / self.pairs)

    def on_phase_end(self, *, reason: str) -> None:
        self.said.append(reason)


def test_a_callback_hears_of_the_posterior() -> None:
    heard = Heard()
    TwoTower(**(QUICK | {"ensemble_size": 2, "refit": True})).fit(
        split(planted(noise=0.5), seed=1)[0], callbacks=[heard]
    )
    shares = [pytest.approx(done / 6, abs=0.01) for done in range(6)] + [1.0]
    chosen, better = heard.said[1], heard.said[10]
    assert (chosen, better) == ("all epochs", "better on validation")
    assert heard.said == [
        *("train", chosen, "posterior", *shares, better),
        *("refit", "all epochs", "posterior", *shares, "done"),
    ]


@pytest.mark.parametrize("worse", [False, True])
def test_posterior_means_are_kept_where_validation_is_better(
    worse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, _ = split(planted(noise=0.5), seed=1)
    smaller, validation = split(train, test=0.2, seed=2)
    if worse:
        monkeypatch.setattr(
            "twotower.training.gradients.take_posterior_means",
            lambda model, *_: model.items.ids.weight.detach().fill_(10.0),
        )
    ours, without = (
        TwoTower(**QUICK, refit=False, posterior=posterior).fit(smaller, validation)
        for posterior in (True, False)
    )
    records = [record for record in ours.history if record["phase"] == "posterior"]
    assert [record["phase"] for record in without.history] == ["train"] * len(without.history)
    assert len(records) == (not worse)
    if worse:
        assert same(ours, without)
        return
    of_ours, of_without = (rmse(m.predict(validation), labels(validation)) for m in (ours, without))
    assert records[0]["validation_rmse"] == pytest.approx(of_ours, rel=1e-4)
    assert of_ours < of_without


@pytest.mark.parametrize("objective", ["squared", "huber", "logistic"])
@pytest.mark.parametrize("transform", ["none", "cap", "log1p", "standardise", "duration_rank"])
def test_every_objective_with_every_transform(objective: str, transform: str) -> None:
    data = planted()
    y = labels(data)
    unit = (y - y.min()) / (y.max() - y.min())
    label = unit if objective == "logistic" else 100.0 * unit
    data = Dataset.of(
        data.interactions.with_columns(pl.Series("y", label)), data.users, data.items, schema=data.schema
    )
    cap = float(np.quantile(label, 0.8)) if transform == "cap" else None
    if (objective, transform) == ("logistic", "standardise"):
        with pytest.raises(ConfigError, match=r"'logistic' needs labels from 0 to 1.*use transform 'none'"):
            TwoTower(objective=objective, transform=transform)
        return
    estimator = TwoTower(
        **{**QUICK, "objective": objective, "epochs": 15, "learning_rate": 0.03},
        transform=transform, cap=cap, regularisation=0.01, dropout=0.0, refit=False,
    )  # fmt: skip
    train, test = split(data, seed=1)
    model = estimator.fit(train)
    predicted, truth = model.predict(test), labels(test)
    if cap is not None:
        assert predicted.max() <= cap
        truth = np.minimum(truth, cap)
    assert predicted.min() >= label.min() - 1e-6
    assert predicted.max() <= label.max() + 1e-6
    assert np.corrcoef(predicted, truth)[0, 1] > 0.5
    assert predicted.mean() == pytest.approx(truth.mean(), abs=0.1 * label.max())


def test_rows_without_weight_are_not_learnt_from() -> None:
    rng = np.random.default_rng(0)
    data = planted(noise=0.05)
    wrong = rng.uniform(size=len(data)) < 0.4
    events = data.interactions.with_columns(
        pl.Series("y", np.where(wrong, 9.0, labels(data))), pl.Series("w", np.where(wrong, 0.0, 2.0))
    )
    clean = split(planted(noise=0.05), test=0.2, seed=5)[1]
    clean = clean.with_interactions(clean.interactions.with_columns(w=pl.lit(1.0)))
    found = {}
    for weighted in (True, False):
        schema = data.schema.model_copy(update={"weight": "w" if weighted else None})
        parts = [
            Dataset.of(frame, data.users, data.items, schema=schema) for frame in (events, clean.interactions)
        ]
        settings: dict[str, Any] = {**QUICK, "epochs": 20, "learning_rate": 0.03, "regularisation": 0.01}
        model = TwoTower(**settings, refit=False).fit(parts[0].as_train(), parts[1])
        found[weighted] = rmse(model.predict(parts[1]), labels(parts[1]))
    assert found[True] < 0.5 * found[False]


@pytest.mark.parametrize("ids", ["int", "Int32", "str"])
def test_without_features_and_with_any_ids(ids: str) -> None:
    plain = planted().interactions
    change: dict[str, Callable[[pl.Expr], pl.Expr]] = {
        "int": lambda c: c,
        "Int32": lambda c: c.cast(pl.Int32),
        "str": lambda c: pl.format("id {}", c),
    }
    events = plain.with_columns(change[ids](pl.col(c)) for c in ("user_id", "item_id"))
    settings: dict[str, Any] = {**QUICK, "epochs": 25, "learning_rate": 0.03, "regularisation": 0.02}
    train, test = split(Dataset.of(events, schema={"label": "y"}), seed=1)
    model = TwoTower(**settings).fit(train)
    assert model.user_ids.dtype == events.schema["user_id"]
    assert rmse(model.predict(test), labels(test)) < 0.8 * rmse(
        least_squares_biases_of(plain, train), labels(test)
    )


def least_squares_biases_of(plain: pl.DataFrame, train: Dataset) -> np.ndarray:
    """The same biases whatever the ids are called: labels name the rows."""
    known = set(labels(train).tolist())
    parts = (plain.filter(pl.col("y").is_in(list(known))), plain.filter(~pl.col("y").is_in(list(known))))
    first, second = (Dataset.of(part, schema={"label": "y"}) for part in parts)
    return least_squares_biases(first, second)


def test_normalised_vectors_train_too() -> None:
    train, test = split(planted(), seed=1)
    settings: dict[str, Any] = {
        **QUICK,
        "kind": "mlp",
        "hidden": (16, 8),
        "shared_layers": True,
        "epochs": 20,
    }
    model = TwoTower(**settings, normalise=True, temperature=0.3, learning_rate=0.03, regularisation=0.0).fit(
        train
    )
    assert rmse(model.predict(test), labels(test)) < 0.9 * labels(test).std()


# bits


def test_the_same_seed_gives_the_same_bits() -> None:
    train, _ = split(planted(1300), seed=1)
    one, two, other = (TwoTower(**QUICK, seed=seed).fit(train) for seed in (7, 7, 8))
    assert same(one, two)
    assert not same(one, other)


def test_the_callers_random_numbers_and_threads_are_left_alone() -> None:
    train, _ = split(planted(1300), seed=1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    one = TwoTower(**QUICK).fit(train)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    torch.manual_seed(99)
    assert same(one, TwoTower(**QUICK).fit(train))


class Break(Callback):
    """Presses Ctrl-C at one moment."""

    def __init__(self, phase: str, epoch: int, inside: bool) -> None:
        self.at, self.inside, self.phase, self.first = (phase, epoch), inside, "", 0

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        if phase != "posterior":  # which follows, and has no epochs
            self.phase, self.first = phase, first_epoch

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        if self.inside and (self.phase, epoch) == self.at and pairs_done > 300:
            raise KeyboardInterrupt

    def on_epoch_end(self, record: Record) -> None:
        if not self.inside and (self.phase, record["epoch"]) == self.at:
            raise KeyboardInterrupt


BROKEN: dict[str, Any] = {
    **QUICK,
    "epochs": 4,
    "kind": "mlp",
    "hidden": (8, 6),
    "ensemble_size": 2,
    "shared_layers": True,
    "dropout": 0.3,
    "id_dropout": 0.3,
    "plateau_patience": 1,
    "learning_rate": 0.05,
}


@pytest.fixture(scope="module")
def unbroken() -> tuple[TrainPart, Recommender]:
    train, _ = split(planted(1300), seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "LARGE_TABLE", 0)
        model = TwoTower(**BROKEN).fit(train)
    assert len(model.model.row_tables()) == 4
    assert sum(record["phase"] == "refit" for record in model.history) >= 2
    return train, model


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("phase", "epoch"), [("train", 1), ("train", 2), ("train", 4), ("refit", 1), ("refit", 2)]
)
def test_a_resumed_run_has_the_bits_of_an_unbroken_one(
    phase: str,
    epoch: int,
    inside: bool,
    unbroken: tuple[TrainPart, Recommender],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tower, "LARGE_TABLE", 0)
    train, expected = unbroken
    with pytest.raises(Interrupted):
        TwoTower(**BROKEN).fit(train, checkpoints=tmp_path, callbacks=[Break(phase, epoch, inside)])
    again = Break("never", 0, False)
    model = TwoTower(**BROKEN).fit(train, checkpoints=tmp_path, resume=True, callbacks=[again])
    assert same(model, expected)
    assert again.phase == "refit"
    assert again.first == (epoch if phase == "refit" else 1)
    assert [strip(record) for record in model.history] == [strip(record) for record in expected.history]


@pytest.mark.parametrize("objective", ["squared", "all_pairs"])
@pytest.mark.parametrize(
    ("phase", "epoch", "inside"),
    [("train", 1, False), ("train", 2, True), ("train", 3, False), ("refit", 1, True)],
)
def test_what_is_solved_for_resumes_to_the_same_bits(
    objective: str, phase: str, epoch: int, inside: bool, tmp_path: Path
) -> None:
    train, _ = split(planted(1300), seed=1)
    settings: dict[str, Any] = {"objective": objective, "dim": 8, "epochs": 4, "threads": 1}
    expected = TwoTower(**settings).fit(train)
    with pytest.raises(Interrupted):
        TwoTower(**settings).fit(train, checkpoints=tmp_path, callbacks=[Break(phase, epoch, inside)])
    model = TwoTower(**settings).fit(train, checkpoints=tmp_path, resume=True)
    assert same(model, expected)
    assert [strip(record) for record in model.history] == [strip(record) for record in expected.history]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"objective": "all_pairs", "dropout": 0.2},
            "read by tower 'mlp' or 'sequence', not by 'linear'; leave it at 'auto'",
        ),
        ({"embedding_dim": 3}, "read by tower 'mlp'.*set model.kind = 'mlp'"),
        (
            {"learning_rate": 0.01},
            r"leave it at 'auto', or name one kind of towers \(model.kind\) instead of 'auto'",
        ),
        (
            {"learning_rate": 0.01, "kind": "linear"},
            "read by trainer 'gradients'.*, not by 'als'.*trainer = 'gradients'",
        ),
        ({"objective": "softmax", "posterior": False}, "not for objective 'softmax'; leave it at True"),
        ({"delta": 2.0}, "read by objective 'huber', not by 'all_pairs'; leave it at 1.0.*name = 'huber'"),
        (
            {"objective": "softmax", "transform": "log1p"},
            "'huber' or 'logistic'.*, not by 'softmax'; leave it at 'none'",
        ),
        ({"objective": "bpr", "hard_negatives": 9}, "read by objective 'softmax'.*leave it at 'none'"),
        ({"objective": "huber", "unobserved_weight": 0.5}, "read by objective 'all_pairs'"),
        ({"objective": "huber", "min_grade": 0.5}, "read by objective 'all_pairs' or 'softmax' or 'bpr'"),
        ({"temperature": 0.5}, "set model.normalise = true"),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        TwoTower(**settings)


@pytest.mark.parametrize("objective", ["squared", "all_pairs"])
@pytest.mark.parametrize(
    ("settings", "solved", "hidden"),
    [
        ({}, True, ()),
        ({"trainer": "gradients", "learning_rate": 0.01}, False, ()),
        ({"trainer": "gradients", "id_dropout": 0.5}, False, ()),
        ({"kind": "mlp", "hidden": (16,)}, False, (16,)),
        ({"kind": "mlp"}, False, (128,)),
        ({"normalise": True}, False, ()),
    ],
)
def test_kind_and_trainer_say_how_towers_learn(
    objective: str, settings: dict[str, Any], solved: bool, hidden: tuple[int, ...]
) -> None:
    model = TwoTower(objective=objective, epochs=2, refit=False, **settings).fit(planted(600).as_train())
    assert model.model.config.widths == hidden
    assert {record["learning_rate"] == 0.0 for record in model.history[:2]} == {solved}
    assert np.isfinite(model.evaluate(planted(200)).metrics["ndcg@10"].value)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "objective": "all_pairs",
            "kind": "mlp",
            "hidden": (128,),
            "learning_rate": 0.01,
            "dropout": 0.2,
            "id_dropout": 0.5,
        },
        {"objective": "all_pairs", "normalise": True, "learning_rate": 0.01, "temperature": 0.5},
        {"trainer": "gradients", "learning_rate": 0.01, "id_dropout": 0.5},
        {"objective": "softmax", "hard_negatives": 9, "kind": "mlp", "dropout": 0.2},
    ],
)
def test_what_is_read_is_taken(settings: dict[str, Any]) -> None:
    TwoTower(**settings)


@pytest.mark.parametrize("settings", [{"regularisation": 0.0}, {"unobserved_weight": 0.0}])
def test_all_pairs_can_do_without_a_penalty_or_cells(settings: dict[str, Any]) -> None:
    train, _ = split(planted(1300), seed=1)
    model = TwoTower(objective="all_pairs", dim=8, epochs=2, threads=1, **settings).fit(train)
    assert np.isfinite(model.users.vectors).all()
    assert np.isfinite([record["train_loss"] for record in model.history]).all()


def strip(record: Record) -> Record:
    return {key: value for key, value in record.items() if "second" not in key}


def test_broken_again_and_again(unbroken: tuple[TrainPart, Recommender], tmp_path: Path) -> None:
    train, expected = unbroken
    model = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "LARGE_TABLE", 0)
        for phase, epoch in [
            ("train", 2),
            ("train", 3),
            ("train", 4),
            ("refit", 1),
            ("refit", 2),
            ("none", 0),
        ]:
            try:
                model = TwoTower(**BROKEN).fit(
                    train, checkpoints=tmp_path, resume=True, callbacks=[Break(phase, epoch, inside=True)]
                )
            except Interrupted:
                continue
    assert model is not None
    assert same(model, expected)


def test_a_finished_run_resumes_to_itself(tmp_path: Path) -> None:
    train, _ = split(planted(1300), seed=1)
    one = TwoTower(**QUICK).fit(train, checkpoints=tmp_path)
    assert same(one, TwoTower(**QUICK).fit(train, checkpoints=tmp_path, resume=True))


@pytest.mark.parametrize("phase", ["train", "refit"])
@pytest.mark.parametrize(
    "change",
    ["learning_rate", "dim", "seed", "objective", "labels", "feature values", "kinds", "validation"],
)
def test_a_checkpoint_of_other_settings_or_data_is_refused(change: str, phase: str, tmp_path: Path) -> None:
    data = planted(1300)
    rest, validation = split(data, seed=1)
    with pytest.raises(Interrupted):  # refit's first checkpoint knows of train
        TwoTower(**QUICK).fit(rest, validation, checkpoints=tmp_path, callbacks=[Break(phase, 2, True)])
    found = Checkpoint.read(tmp_path)
    assert found is not None
    assert found.meta["phase"] == phase
    settings: dict[str, Any] = {**QUICK, "seed": 42}
    other: dict[str, Any] = {"learning_rate": 0.011, "dim": 10, "seed": 43, "objective": "huber"}
    events, items, schema = rest.interactions, rest.items, rest.schema
    if change in other:
        settings[change] = other[change]
    elif change == "labels":
        events = events.with_columns(y=pl.col("y") + 1e-6)
    elif change == "feature values":
        items = items.with_columns(tags=pl.col("tags").list.reverse())
    elif change == "kinds":
        schema = schema.model_copy(update={"users": {"group": kind_of("text")}})
    else:
        validation = validation.with_interactions(validation.interactions.reverse())
    train = Dataset.of(events, rest.users, items, schema=schema).as_train()
    with pytest.raises(TrainingError, match="from a run with other settings or other data"):
        TwoTower(**settings).fit(train, validation, checkpoints=tmp_path, resume=True)


# settings and data that are wrong


def test_models_rank_by_default() -> None:
    assert TwoTower().objective.name == "all_pairs"
    train, _ = split(planted(1300), seed=1)
    assert TwoTower(dim=8, threads=1).fit(train).objective.implicit
    assert not TwoTower(objective="squared", dim=8, threads=1).fit(train).objective.implicit


def test_settings_have_their_places() -> None:
    made = TwoTower(dim=16, objective="huber", delta=2.0, learning_rate=0.5, seed=3)
    assert (made.model.dim, made.objective.name, made.objective.delta) == (16, "huber", 2.0)
    assert (made.training.learning_rate, made.seed) == (0.5, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rat": 0.1}, "unknown setting 'learning_rat'. Did you mean 'learning_rate'"),
        ({"id_dropot": 0.1}, "Did you mean 'id_dropout'"),
        ({"zzz": 1}, "unknown setting 'zzz'. Valid: activation, batch_size"),
        ({"dim": 2}, "'model.dim'.*got 2"),
        ({"objective": "square"}, "'objective.name' must be one of .*Did you mean 'squared'"),
        ({"objective": "huber", "transform": "cap"}, "cap go together"),
        ({"transform": "log1p"}, "not by 'all_pairs'.*or set objective.name = 'squared'"),
        ({"epochs": 0}, "'training.epochs'"),
        ({"kind": "mlp", "activation": "rellu"}, "Did you mean 'relu'"),
    ],
)
def test_wrong_settings_say_what_is_right(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TwoTower(**settings)


def test_a_label_is_needed() -> None:
    data = Dataset.of(planted().interactions, schema={})
    with pytest.raises(ConfigError, match=r"the schema has none.* set schema\.label"):
        TwoTower(objective="squared").fit(data.as_train())


@pytest.mark.parametrize("with_validation", [True, False])
def test_a_model_is_trained_on_a_train_part_only(with_validation: bool) -> None:
    data = planted(1300)
    with pytest.raises(TrainPartError, match=r"TrainPart.* got Dataset"):
        TwoTower().fit(data, data if with_validation else None)  # type: ignore[arg-type]
    assert issubclass(TrainPartError, TypeError)  # as it was caught before
    assert issubclass(TrainPartError, TwoTowerError)


def test_what_only_a_trained_model_has_says_where_it_is() -> None:
    for name in ("recommend", "save", "evaluate", "item_vectors"):
        assert not hasattr(TwoTower(), name)
        with pytest.raises(
            AttributeError, match=r"fit returns the trained model.*TwoTower\(...\)\.fit\(train\)"
        ):
            getattr(TwoTower(), name)
    with pytest.raises(AttributeError, match=r"'TwoTower' has no attribute 'recomend'$"):
        getattr(TwoTower(), "recomend")  # noqa: B009
    model = TwoTower(dim=8)
    assert copy.deepcopy(model) == model
    assert pickle.loads(pickle.dumps(model)) == model


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=r"training\.device 'cuda' can't be used here"):
        TwoTower(**QUICK, device="cuda").fit(split(planted())[0])


def test_duration_rank_needs_a_duration() -> None:
    data = Dataset.of(planted().interactions, schema={"label": "y"})
    with pytest.raises(ConfigError, match=r"needs the items' duration; set schema\.duration"):
        TwoTower(**QUICK, transform="duration_rank").fit(data.as_train())


def test_validation_from_a_file_of_its_own() -> None:
    data = planted(1300)
    rest, validation = split(data, seed=1)
    extra = validation.interactions.with_columns(pl.lit("x").alias("note"), pl.col("user_id").cast(pl.Int32))
    other = Dataset.of(
        extra.select("note", "y", "item_id", "user_id"), data.users, data.items, schema=data.schema
    )
    one = TwoTower(**QUICK).fit(rest, validation)
    two = TwoTower(**QUICK).fit(rest, other)
    assert same(one, two)


def test_validation_may_have_users_and_items_that_train_lacks() -> None:
    data = planted(1300)
    events = data.interactions
    train = data.with_interactions(
        events.filter((pl.col("user_id") > 5) & (pl.col("item_id") > 5))
    ).as_train()
    validation = data.with_interactions(events.filter((pl.col("user_id") <= 5) | (pl.col("item_id") <= 5)))
    without = TwoTower(**QUICK, refit=False).fit(train, validation)
    assert without.users.warm.tolist() == [False] * 6 + [True] * (N_USERS - 6)
    assert TwoTower(**QUICK).fit(train, validation).users.warm.all()


def test_what_test_holds_changes_nothing() -> None:
    data = planted(1300)
    train, test = split(data, "cold_items", seed=1)
    cold = test.interactions["item_id"].unique().implode()
    wild = data.items.with_columns(
        face=pl.when(pl.col("item_id").is_in(cold))
        .then(pl.lit([1e3, -1e3], dtype=pl.List(pl.Float32)))
        .otherwise("face")
    )
    other = Dataset.of(train.interactions, data.users, wild, schema=data.schema).as_train()
    one, two = TwoTower(**QUICK).fit(train), TwoTower(**QUICK).fit(other)
    for a, b in zip(
        sorted(one.model.state_dict().items()), sorted(two.model.state_dict().items()), strict=True
    ):
        assert torch.equal(a[1], b[1]), a[0]
    npt.assert_array_equal(one.items.vectors[one.items.warm], two.items.vectors[two.items.warm])


def test_what_a_fit_carves_for_validation_is_seen_without_a_refit_too() -> None:
    data = planted(600).as_train()
    model = TwoTower(objective="all_pairs", dim=4, epochs=2, refit=False).fit(data)
    pairs = data.interactions.select("user_id", "item_id").unique()
    known = pairs.filter(pl.col("user_id").is_in(model.user_ids.implode()))
    lists = model.recommend(known["user_id"].unique(), k=len(model.item_ids))
    assert lists.join(pairs, on=["user_id", "item_id"]).height == 0
    carved = carve_validation(data, "random", 0.1, 42)[1]
    own = TwoTower(objective="all_pairs", dim=4, epochs=2, refit=False).fit(
        *carve_validation(data, "random", 0.1, 42)
    )
    held = carved.interactions.select("user_id", "item_id").unique()
    again = own.recommend(held["user_id"].unique(), k=len(own.item_ids))
    assert again.join(held, on=["user_id", "item_id"]).height > 0
