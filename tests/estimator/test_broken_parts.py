"""Parts of one's own that are broken: training ends with an error that names them, and nothing is lost."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pytest
import torch

import twotower as tt
from twotower.data.dataset import TrainPart
from twotower.errors import BundleError, ConfigError, TrainingError
from twotower.objectives import Objective, PairLoss
from twotower.objectives.registry import OBJECTIVES
from twotower.recommender import bundle
from twotower.recommender.bundle import MANIFEST, read_manifest
from twotower.towers import Tower
from twotower.towers.registry import TOWERS
from twotower.training import Trainer
from twotower.training.registry import TRAINERS

SETTINGS: dict[str, Any] = {"dim": 4, "epochs": 2, "threads": 1, "refit": False}


@dataclass(frozen=True)
class Given(Objective):
    """Returns what it is told."""

    answer: ClassVar[Any] = staticmethod(lambda U, V: PairLoss(1.0, U * 0, V * 0))

    def __call__(self, U: torch.Tensor, V: torch.Tensor, pairs: Any, **given: Any) -> Any:
        return self.answer(U, V)


@dataclass(frozen=True)
class Other(Given):
    """Another class."""


class Flat(Tower):
    """Has no layers: what comes from features is what it is told."""

    answer: ClassVar[Any] = staticmethod(torch.zeros)

    def __init__(self, shape: Any, n_ids: int, config: Any, generator: torch.Generator) -> None:
        super().__init__(shape, n_ids, config, 4, 0.1, generator)

    def combined(self, rows: int, numbers: Any, coded: Any) -> Any:
        return self.answer(rows, self.width)


class Level(Flat):
    """Another class."""


class Idle(Trainer):
    """Leaves the weights as they are, or fills them, and returns the loss that it is told."""

    loss: ClassVar[Any] = 1.0
    fill: ClassVar[float | None] = None

    @classmethod
    def trains(cls, model: Any, objective: Any) -> bool:
        return True

    def epoch(self, number: int, callbacks: Any) -> Any:
        if self.fill is not None:
            torch.nn.init.constant_(self.task.model.users.ids.weight, self.fill)
        return self.loss


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    with OBJECTIVES.temporarily(), TOWERS.temporarily(), TRAINERS.temporarily():
        yield


def data() -> TrainPart:
    pairs = np.random.default_rng(0).permutation(80)[:60]
    return tt.Dataset.of(pl.DataFrame({"user_id": pairs // 10, "item_id": pairs % 10}), schema={}).as_train()


def fit(**settings: Any) -> tt.Recommender:
    return tt.TwoTower(**{**SETTINGS, **settings}).fit(data())


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), None, "1.0", True, np.zeros(2)])
def test_a_loss_that_is_no_finite_number_ends_training(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Idle, "loss", loss)
    with pytest.raises(
        TrainingError, match=r"the loss must stay finite; trainer Idle returned .* in epoch 1"
    ):
        fit(trainer=Idle)


@pytest.mark.parametrize("loss", [2, np.float32(2.0)])
def test_any_finite_number_is_a_loss(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Idle, "loss", loss)
    assert [type(one["train_loss"]) for one in fit(trainer=Idle).history] == [float, float]


@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_end_training(fill: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Idle, "fill", fill)
    found = r"those named 'users\..*' contain nan or infinity after epoch 1 of trainer Idle by .*'all_pairs'"
    with pytest.raises(TrainingError, match=found):
        fit(trainer=Idle)


def test_gradients_that_are_not_finite_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Given, "answer", lambda self, U, V: PairLoss(1.0, U * float("nan"), V * 0))
    with pytest.raises(TrainingError, match=r"must .*finite.*:Given"):
        fit(objective=Given())


def test_vectors_that_are_not_finite_end_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flat, "answer", lambda self, rows, width: torch.full((rows, width), float("nan")))
    with pytest.raises(TrainingError, match=r"must .*finite.*:Flat"):
        fit(kind=Flat, trainer=Idle)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda U, V: None, "None"),
        (lambda U, V: (1.0, U, V), r"\[1.0, <torch.float32 \d+x4>, <torch.float32 10x4>\]"),
        (lambda U, V: PairLoss(1.0, U[:1], V), r"PairLoss\(1.0, <torch.float32 1x4> on cpu, .*"),
        (lambda U, V: PairLoss(1.0, U, V[:, :1]), r".* <torch.float32 10x1> on cpu\)"),
        (lambda U, V: PairLoss(1.0, U, V.numpy()), r".* <float32 10x4>\)"),
        (lambda U, V: PairLoss(1.0, U.double(), V), r".* <torch.float64 \d+x4> on cpu, .*"),
        (lambda U, V: PairLoss(None, U, V), r"PairLoss\(None, .*"),  # type: ignore[arg-type]
        (lambda U, V: PairLoss(True, U, V), r"PairLoss\(True, .*"),
        (lambda U, V: PairLoss("1.0", U, V), r"PairLoss\('1.0', .*"),  # type: ignore[arg-type]
        (lambda U, V: PairLoss(V, U, V), r"PairLoss\(<torch.float32 10x4> on cpu, .*"),  # type: ignore[arg-type]
    ],
)
def test_an_objective_returns_a_loss_and_gradients(
    answer: Any, got: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Given, "answer", staticmethod(answer))
    rule = r"an objective must return PairLoss\(loss, dU, dV\): a number, and tensors as U and V are, "
    where = rf"<torch.float32 \d+x4> on cpu and <torch.float32 10x4> on cpu; {__name__}:Given returned {got}$"
    with pytest.raises(TrainingError, match=rule + where):
        fit(objective=Given())


@pytest.mark.parametrize("loss", [2, np.float32(2.0), torch.tensor(2.0)])
def test_any_number_is_the_loss_of_an_objective(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Given, "answer", staticmethod(lambda U, V: PairLoss(loss, U * 0, V * 0)))
    history = fit(objective=Given).history
    assert [one["train_loss"] for one in history] == [2.0, 2.0]
    json.dumps(history)


@pytest.mark.parametrize(
    ("answer", "got"),
    [
        (lambda rows, width: None, "None"),
        (lambda rows, width: torch.zeros(rows, width - 1), r"<torch.float32 \d+x2>"),
        (lambda rows, width: torch.zeros(rows + 1, width), r"<torch.float32 \d+x3>"),
        (lambda rows, width: torch.zeros(rows, width).double(), r"<torch.float64 \d+x3>"),
        (lambda rows, width: np.zeros((rows, width), np.float32), r"<float32 \d+x3>"),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"trainer": Idle}])
def test_towers_return_a_vector_a_row(
    answer: Any, got: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flat, "answer", staticmethod(answer))
    rule = r"towers must return \(rows, dim - members\) from features, <torch.float32 \d+x3> here"
    with pytest.raises(TrainingError, match=rf"{rule}; {__name__}:Flat returned {got}$"):
        fit(kind=Flat, **settings)


class Bare(Tower):
    """Has the constructor of its base."""

    def combined(self, rows: int, numbers: Any, coded: Any) -> Any:
        return torch.zeros(rows, self.width)


class Empty(Flat):
    """Has nothing to return."""

    combined = Tower.combined


class Unfinished(Idle):
    """Has no epoch."""

    epoch = Trainer.epoch


class Lossless(Objective):
    """Has no loss."""


@dataclass(frozen=True)
class Named(Given):
    """Has a field with the name of a setting."""

    name: str = "x"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": Bare}, r"made with \(shape, n_ids, config, generator\); .*:Bare takes \(shape: .*__init__"),
        ({"kind": Empty}, r"needs a method combined; .*:Empty has none"),
        (
            {"kind": Bare.__new__(Bare)},
            "must be a name or a subclass of Tower, got an object .* the class Bare",
        ),
        ({"trainer": Idle.__new__(Idle)}, "subclass of Trainer, got an object .* the class Idle"),
        ({"trainer": Unfinished}, "every trainer needs epoch; .*:Unfinished lacks it"),
        ({"objective": Lossless}, "every objective needs __call__; .*:Lossless lacks it"),
        ({"objective": Named()}, "'name' is the objective's own; .*:Named has a field of this name"),
        ({"objective": Flat}, "'objective' must be a name or a subclass of Objective, got Flat"),
    ],
)
def test_parts_that_cant_be_used_are_refused_at_once(settings: dict[str, Any], said: str) -> None:
    before = [registry.names() for registry in (TOWERS, OBJECTIVES, TRAINERS)]
    with pytest.raises(ConfigError, match=said):
        tt.TwoTower(**settings)
    assert [registry.names() for registry in (TOWERS, OBJECTIVES, TRAINERS)] == before


@dataclass(frozen=True)
class Scaled(Given):
    """Has settings."""

    scale: float
    regularisation: float = 3.0


def test_an_objective_may_be_a_class_with_settings_as_keywords() -> None:
    by_class = tt.TwoTower(objective=Scaled, scale=2.0)
    assert by_class == tt.TwoTower(objective=Scaled(2.0))
    assert vars(by_class.objective)["scale"] == 2.0
    assert by_class.objective.regularisation == 3.0
    with pytest.raises(ConfigError, match=r"'objective.scale' is missing"):
        tt.TwoTower(objective=Scaled)


def test_a_class_that_is_defined_again_replaces_the_one_before() -> None:
    """As in a notebook, where a cell is corrected and run again."""
    for loss in (1.0, 2.0):
        again = type(
            "Given", (Given,), {"answer": staticmethod(lambda U, V, x=loss: PairLoss(x, U * 0, V * 0))}
        )
        again.__module__, again.__qualname__ = Given.__module__, Given.__qualname__
        assert fit(objective=again).history[0]["train_loss"] == loss
        assert fit(objective=again()).history[0]["train_loss"] == loss


@pytest.mark.parametrize("part", ["weights", "vectors"])
def test_a_model_that_could_not_be_loaded_is_not_saved(part: str, tmp_path: Path) -> None:
    model = fit()
    model.save(tmp_path / "b")
    if part == "weights":
        torch.nn.init.constant_(model.model.users.ids.weight, float("nan"))
    else:
        model.items.vectors[0, 0] = np.nan
    with pytest.raises(BundleError, match=rf"can't be saved, as it could not be loaded: the {part} .*finite"):
        model.save(tmp_path / "b")
    tt.load(tmp_path / "b")


@pytest.mark.parametrize(
    ("registry", "ours", "theirs", "settings"),
    [(TOWERS, Flat, Level, {"kind": "mine"}), (OBJECTIVES, Given, Other, {"objective": "mine"})],
)
def test_a_name_that_has_another_class_on_loading_is_refused(
    registry: Any, ours: type, theirs: type, settings: dict[str, Any], tmp_path: Path
) -> None:
    section = "model" if "kind" in settings else "objective"
    with registry.temporarily(mine=ours):
        model = fit(**settings, trainer=Idle)
        model.save(tmp_path / "b")
        assert read_manifest(tmp_path / "b")["classes"] == {section: f"{__name__}:{ours.__name__}"}
        assert np.array_equal(tt.load(tmp_path / "b").items.vectors, model.items.vectors)
    where = rf"{section}\..*'mine' that the model was trained with, {__name__}:{ours.__name__}; got "
    with (
        registry.temporarily(mine=theirs),
        pytest.raises(BundleError, match=rf"{where}{__name__}:{theirs.__name__} under this name: register"),
    ):
        tt.load(tmp_path / "b")


def test_a_scripts_class_may_move_to_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OBJECTIVES.temporarily(mine=Given), monkeypatch.context() as patch:
        patch.setattr(Given, "__module__", "__main__")
        model = fit(objective="mine")
        with pytest.warns(tt.errors.TwoTowerWarning, match="__main__:Given is a class of this script"):
            model.save(tmp_path / "b")
    with OBJECTIVES.temporarily(mine=Given):
        tt.load(tmp_path / "b")
    with OBJECTIVES.temporarily(mine=Other), pytest.raises(BundleError, match="__main__:Given; got"):
        tt.load(tmp_path / "b")


@pytest.mark.parametrize("classes", [[], {"model": 3}, {"schema": "a:B"}, {"model": "a:B"}])
def test_classes_in_a_bundle_are_checked(classes: Any, tmp_path: Path) -> None:
    fit().save(tmp_path / "b")
    manifest = read_manifest(tmp_path / "b") | {"classes": classes}
    manifest["hash"] = bundle._manifest_hash(manifest)
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(
        BundleError, match=r"the classes of parts must be|got a built-in class under this name"
    ):
        tt.load(tmp_path / "b")


def test_a_bundle_of_built_in_parts_names_no_class(tmp_path: Path) -> None:
    fit().save(tmp_path / "b")
    assert "classes" not in read_manifest(tmp_path / "b")


@pytest.mark.parametrize("settings", [{"kind": Flat}, {"objective": Given()}, {"objective": "mine"}])
def test_estimators_and_models_with_parts_of_ones_own_are_pickled(settings: dict[str, Any]) -> None:
    OBJECTIVES.register(Other, "mine")
    estimator = tt.TwoTower(**SETTINGS, **settings, trainer=Idle)
    model = estimator.fit(data())
    content = pickle.dumps((estimator, model))
    for registry in (OBJECTIVES, TOWERS):  # as another process finds them
        registry._loaded, registry._others = {}, None
    copied, again = pickle.loads(content)
    assert copied == estimator
    assert again.model.config == model.model.config
    assert again.objective == model.objective
    assert again.recommend(3, k=2).equals(model.recommend(3, k=2))
