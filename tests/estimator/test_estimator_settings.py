"""The keyword arguments of `TwoTower`: those of the config, and with the manners of scikit-learn."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Never, Union

import pytest
from pydantic import BaseModel
from sklearn.base import clone

from twotower.config import Config, load_config
from twotower.config.parts import MODEL, OBJECTIVE, PLACES, TRAINING, Place, trainer_of
from twotower.errors import ConfigError, RenamedWarning, nearest
from twotower.estimator import TwoTower
from twotower.objectives.registry import OBJECTIVES
from twotower.towers.registry import TOWERS
from twotower.training.registry import TRAINERS


def owners(place: Place, field: str) -> list[type[BaseModel]]:
    """Return the classes whose bodies have a setting: the base of all parts, or those of some parts."""
    if field in place.base.model_fields:
        return [place.base]
    kinds = dict.fromkeys(kind for _, config in place.configs() for kind in config.__mro__)
    return [kind for kind in kinds if field in vars(kind).get("__annotations__", {})]


FIELDS = {
    "objective" if (section, name) == ("objective", "name") else name: (owners(place, name), name)
    for section, place in PLACES.items()
    for name in place.fields()
}
"""Keyword -> classes of the settings of the parts that have it, and field."""
NAMES = {"kind": None, "objective": "auto"}
"""Keywords with the name of a part, and the default."""


def field_docs(kind: type[BaseModel]) -> dict[str, str]:
    """Return what stands under each field of a section, in one line."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    docs = {}
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            docs[field.target.id] = " ".join(str(text.value.value).split())
    return docs


def plain(annotation: Any) -> Any:
    """Return a type without the bounds of its values, as a signature has it."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return plain(args[0])
    if origin in (Union, types.UnionType):
        return frozenset(map(plain, args))
    if origin is tuple:
        return Sequence[plain(args[0])]
    return annotation


def signature() -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(TwoTower.__init__, eval_str=True).parameters)
    del parameters["self"], parameters["unknown"]
    return parameters


def test_every_setting_is_a_keyword_of_its_type_and_default():
    found = signature()
    assert set(found) == {*FIELDS, "positive", "seed"}
    for name, (kinds, field) in FIELDS.items():
        assert found[name].kind is inspect.Parameter.KEYWORD_ONLY
        if name == "hidden":
            assert found[name].default is None, "None says that it was not given"
            continue
        for kind in kinds:
            default = kind.model_fields[field].default
            assert found[name].default == NAMES.get(name, default), name
            if name in (*NAMES, "trainer"):
                continue
            hints = typing.get_type_hints(kind, include_extras=True)
            assert plain(found[name].annotation) == plain(hints[field]), name
    assert found["seed"].default == Config.model_fields["seed"].default


def bare(text: str) -> str:
    """Return a setting's meaning without the part that has it, which a section says by itself."""
    text = re.sub(
        r"With (?:pooling )?(?:``\w+``(?: and )?)+(?:, as the following)?(?: and a label)?: ", "", text
    )
    return text.replace("With a label: ", "").rstrip(".").lower()


def test_every_settings_meaning_is_in_the_docstring():
    listed = inspect.getdoc(TwoTower).split("\nArgs:\n")[1].split("\n\n")[0]
    said = dict(entry.split(": ", 1) for entry in textwrap.dedent(listed).replace("\n    ", " ").split("\n"))
    assert list(said) == list(signature())
    for name, (kinds, field) in FIELDS.items():
        if name == "objective":
            continue  # which may also be an object
        starts = 0
        for kind in kinds:
            meaning = field_docs(kind)[field]
            wrapped = textwrap.fill(
                f"{name}: {meaning}", 102, subsequent_indent="    ", break_on_hyphens=False
            )
            place = bare(said[name]).find(bare(meaning))
            assert place >= 0, f"the Args of TwoTower should say\n{wrapped}"
            starts += place == 0
        assert starts == 1, f"the Args of {name} should start with what is said to it"


def test_type_checkers_refuse_an_unknown_keyword():
    parameter = inspect.signature(TwoTower.__init__, eval_str=True).parameters["unknown"]
    assert parameter.annotation is Never


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("random_state", "seed"),
        ("n_factors", "dim"),
        ("factors", "dim"),
        ("n_components", "dim"),
        ("lr", "learning_rate"),
        ("n_epochs", "epochs"),
        ("iterations", "epochs"),
        ("reg", "regularisation"),
        ("alpha", "regularisation"),
        ("loss", "objective"),
        ("n_jobs", "threads"),
        ("epoch", "epochs"),
    ],
)
def test_what_other_libraries_call_a_setting_is_understood(theirs: str, ours: str):
    with pytest.raises(ConfigError, match=f"unknown setting '{theirs}'. Did you mean '{ours}'"):
        TwoTower(**{theirs: 1})


def test_the_same_words_help_in_a_config():
    with pytest.raises(ConfigError, match=r"unknown key 'training.lr'. Did you mean 'learning_rate'"):
        load_config("kuairec-sample", ["training.lr=0.1"])
    assert nearest("lr", ["epochs"]) == "", "only what is valid there"


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_a_seed_is_a_whole_number(seed: Any):
    with pytest.raises(ConfigError, match=r"'seed' must be a whole number, 0 or more, got"):
        TwoTower(seed=seed)


def test_none_may_be_said_as_in_a_config():
    assert TwoTower(objective="softmax", clip_norm="none").training.clip_norm is None
    with pytest.raises(ConfigError, match=r"'model.dim'"):
        TwoTower(dim="none")


def test_params_go_in_as_they_come_out():
    hidden = [16, 8]
    one = TwoTower(kind="mlp", hidden=hidden, objective="softmax", positive={"quantile": 0.8}, seed=3)
    params = one.get_params()
    assert params["hidden"] is hidden
    assert (params["objective"], params["positive"], params["epochs"]) == (
        "softmax",
        {"quantile": 0.8},
        "auto",
    )
    assert list(params) == list(signature())
    assert TwoTower(**params) == one
    assert TwoTower(positive=0.5).get_params()["positive"] == 0.5


def test_scikit_learn_clones_it():
    one = TwoTower(kind="mlp", hidden=(16,), objective="huber", positive={"quantile": 0.8}, seed=3)
    copy = clone(one)
    assert copy == one
    assert copy is not one
    assert copy.set_params(dim=32) is copy
    assert (copy.model.dim, one.model.dim) == (32, "auto")
    assert copy != one
    assert one != "TwoTower"


def test_a_wrong_setting_changes_nothing():
    one = TwoTower(dim=32)
    for wrong in ({"dim": 16, "lr": 0.1}, {"dim": 2}, {"delta": 3.0}):
        with pytest.raises(ConfigError):
            one.set_params(**wrong)
    assert one == TwoTower(dim=32)
    assert one.get_params() == TwoTower(dim=32).get_params()


def test_an_estimator_from_a_config_has_its_settings():
    config = load_config("kuairec-sample", ["model.dim=32", "seed=5"])
    made = TwoTower.from_config(config)
    assert made == TwoTower(**made.get_params())
    assert made.get_params()["positive"] == {"threshold": 1.5}
    assert (made.model, made.training, made.seed) == (config.model, config.training, 5)


def test_repr_shows_what_is_not_at_its_default():
    assert repr(TwoTower()) == "TwoTower()"
    one = TwoTower(dim=32, objective="huber", learning_rate=0.01, epochs="auto")
    assert repr(one) == "TwoTower(dim=32, objective='huber', learning_rate=0.01)"
    assert eval(repr(one)) == one
    assert repr(TwoTower(positive=3.5, kind="mlp", hidden=[8], objective="bpr")) == (
        "TwoTower(kind='mlp', hidden=[8], objective='bpr', positive=3.5)"
    )
    assert "all at their defaults" in TwoTower()._repr_html_()
    page = TwoTower(kind="mlp", hidden=(8,), objective="bpr")._repr_html_()
    assert "hidden</th>" in page
    assert "(8,)</td>" in page
    assert "&#x27;bpr&#x27;" in page


@pytest.mark.parametrize(
    ("settings", "kind", "trainer"),
    [
        ({}, "auto", "several"),
        ({"dim": 32, "epochs": 3}, "auto", "several"),
        ({"kind": "linear", "dim": 32, "epochs": 3}, "linear", "als"),
        ({"objective": "all_pairs"}, "linear", "als"),
        ({"trainer": "als"}, "linear", "als"),
        ({"kind": "mlp", "hidden": (64,), "learning_rate": 0.1}, "mlp", "gradients"),
        ({"trainer": "gradients", "learning_rate": 0.1}, "linear", "gradients"),
        ({"objective": "huber"}, "linear", "gradients"),
        ({"objective": "squared"}, "linear", "variational"),
        ({"kind": "linear", "normalise": True}, "linear", "gradients"),
    ],
)
def test_only_the_kind_says_what_the_towers_are(settings: Mapping[str, Any], kind: str, trainer: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = TwoTower(**settings)
    assert made.model.kind == kind
    assert trainer_of(made.model, made.objective, made.training) == trainer


def test_hidden_layers_without_a_kind_are_of_an_earlier_version():
    with pytest.warns(RenamedWarning, match=r"model.hidden without model.kind means model.kind = 'mlp'"):
        made = TwoTower(hidden=(128,))
    assert (made.model.kind, made.model.widths) == ("mlp", (128,))
    assert repr(made) == "TwoTower(kind='mlp', hidden=(128,))"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone(made) == made
    with pytest.raises(ConfigError, match="only read by tower 'mlp', not by 'linear'"):
        TwoTower(kind="linear", hidden=(64,))


@pytest.mark.parametrize("name", ["dim", "objective", "trainer", "dropout", "epochs"])
def test_none_is_no_value_of_a_setting_that_has_no_none(name: str):
    with pytest.raises(ConfigError, match=name):
        TwoTower(**{name: None})


def test_the_values_of_a_setting_are_in_its_schema():
    assert typing.get_args(signature()["activation"].annotation) == ("relu", "gelu", "silu", "tanh")
    for place, names in (
        (MODEL, TOWERS.names()),
        (OBJECTIVE, OBJECTIVES.names()),
        (TRAINING, ("auto", *TRAINERS.names())),
    ):
        assert place.base.model_json_schema()["properties"][place.key]["enum"] == list(names)
