"""The search space: read from TOML or the default of a task, always including the config's own values."""

from __future__ import annotations

from pathlib import Path

import pytest

from twotower.config import Config, load_config
from twotower.errors import ConfigError
from twotower.workflows.tuning import Choices, Space, Span, default_space, read_space, space_of
from twotower.workflows.tuning.space import given_values


def written(folder: Path, text: str) -> Path:
    path = folder / "space.toml"
    path.write_text(text, encoding="utf-8")
    return path


OBJECTIVES = ("squared", "huber", "logistic", "all_pairs", "softmax", "bpr")
LAYERED = ["objective.name=all_pairs", "model.kind=mlp", "model.hidden=[8]"]
SOLVED = ["objective.name=all_pairs", "model.kind=linear", "model.hidden=[128]"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_value_of_a_default_space_is_valid_and_it_holds_the_config(folder, objective) -> None:
    config = load_config(folder / "config.toml", [f"objective.name={objective}"])
    space = space_of(config)
    # the default space, written to a file, passes the checks of read_space
    assert read_space(written(folder, space.dump()), config) == space
    given = given_values(config, space)
    assert set(given) == set(space.parameters)
    assert all(space.parameters[key].holds(value) for key, value in given.items())
    assert "auto" not in given.values()
    owned = {
        "all_pairs": "objective.unobserved_mass",
        "huber": "objective.delta",
        "softmax": "objective.hard_negatives",
    }
    for name, key in owned.items():
        assert (key in space.parameters) == (name == objective)


@pytest.mark.parametrize(
    ("kind", "objective", "unread"),
    [
        ("sequence", "softmax", "objective.regularisation"),
        ("item_item", "all_pairs", "objective.unobserved_mass"),
    ],
)
def test_what_a_trainer_does_not_read_is_not_searched(folder, kind, objective, unread) -> None:
    settings = [f"objective.name={objective}", f"model.kind={kind}", "model.hidden=[128]"]
    config = load_config(folder / "config.toml", settings)
    space = space_of(config)
    assert unread not in space.parameters
    assert read_space(written(folder, space.dump()), config) == space
    section, name = unread.split(".")
    with pytest.raises(ConfigError, match=f"{unread} has no effect with trainer"):
        read_space(written(folder, f"[{section}]\n{name} = {{ low = 0.1, high = 1.0 }}\n"), config)


def test_towers_that_are_solved_for_have_no_parameters_of_gradients(folder) -> None:
    solved = space_of(load_config(folder / "config.toml", SOLVED))
    layered = space_of(load_config(folder / "config.toml", LAYERED))
    of_layers = {"model.hidden", "model.embedding_dim", "model.dropout", "training.learning_rate"}
    assert of_layers & set(solved.parameters) == set()
    assert of_layers <= set(layered.parameters)
    assert not layered.parameters["model.hidden"].holds([])


def test_a_space_of_several_objectives_leaves_out_what_one_has_not(folder) -> None:
    config = load_config(
        folder / "config.toml", ["objective.name=softmax", "model.kind=linear", "model.hidden=[128]"]
    )
    path = written(
        folder,
        '[objective]\nname = ["softmax", "all_pairs"]\n[model]\ndim = [8, 16]\n'
        "[training]\nlearning_rate = [0.005, 0.01]\n",
    )
    space = read_space(path, config)
    assert [key for key, _ in space.items_for("softmax")] == ["model.dim", "training.learning_rate"]
    assert [key for key, _ in space.items_for("all_pairs")] == ["model.dim"]


def test_floor_needs_labels(folder) -> None:
    config = load_config(folder / "config.toml", ["objective.name=all_pairs"])
    assert "objective.min_grade" in default_space(config, labelled=True).parameters
    assert "objective.min_grade" not in default_space(config, labelled=False).parameters


def test_a_default_span_that_cannot_hold_the_config_is_left_out(folder) -> None:
    config = load_config(folder / "config.toml", ["objective.regularisation=0"])
    assert "objective.regularisation" not in space_of(config).parameters


def test_a_space_is_made_larger_to_hold_the_config(config: Config) -> None:
    domains = {"model.dim": Choices((16, 32)), "training.learning_rate": Span(0.01, 0.1, log=True)}
    space = Space(domains)
    around = space.around(config)
    assert around.parameters["model.dim"] == Choices((8, 16, 32))
    assert around.parameters["training.learning_rate"] == Span(0.005, 0.1, log=True)


def test_parameters_of_other_objectives_are_not_drawn(folder, config: Config) -> None:
    path = written(
        folder,
        '[objective]\nname = ["squared", "huber"]\ndelta = {low = 0.5, high = 2}\n[model]\ndim = [8, 16]\n',
    )
    space = read_space(path, config)
    assert [key for key, _ in space.items_for("squared")] == ["model.dim"]
    assert [key for key, _ in space.items_for("huber")] == ["objective.delta", "model.dim"]
    assert given_values(config, space) == {"objective.name": "squared", "model.dim": 8}


def test_values_take_the_type_of_their_key(folder, config: Config) -> None:
    path = written(
        folder, "[model]\ndropout = [0, 0.5]\nfeature_dim = {low = 2, high = 6}\nhidden = [[4], [8]]\n"
    )
    space = read_space(path, config)
    assert space.parameters["model.dropout"] == Choices((0.0, 0.5))
    assert all(isinstance(value, float) for value in space.parameters["model.dropout"].values)
    assert space.parameters["model.embedding_dim"].whole
    assert space.parameters["model.hidden"] == Choices(([4], [8]))
    assert read_space(written(folder, space.dump()), config) == space


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[model\n", "not valid TOML"),
        ("", "at least one key"),
        ("[modle]\ndim = [8]\n", "Did you mean 'model'"),
        ("model = 3\n", r"write \[model\]"),
        ("[split]\ntest = [0.1, 0.2]\n", "Other sections can't be searched"),
        ("[model]\ndimm = [8]\n", "Did you mean 'dim'"),
        ("[model]\ndim = []\n", "at least one choice"),
        ("[model]\ndim = 8\n", "must be a list of choices or"),
        ("[model]\ndim = {low = 8}\n", "must be a list of choices or"),
        ("[model]\ndim = {low = 8, high = 32, step = 8}\n", "must be a list of choices or"),
        ("[model]\ndim = {low = 32, high = 8}\n", "low must be a number below high"),
        ("[model]\ndim = {low = true, high = 8}\n", "low must be a number below high"),
        ("[model]\ndropout = {low = 0, high = 0.5, log = true}\n", "true needs low above 0"),
        ("[model]\ndropout = {low = 0, high = 0.5, log = 1}\n", "log must be true or false"),
        ("[model]\ndropout = {low = 0, high = 1.5}\n", "model.dropout"),
        ("[model]\ndim = [8, 2]\n", "model.dim = 2"),
        ('[model]\ndim = [8, "x"]\n', "model.dim"),
        ("[objective]\ndelta = [1.0, 2.0]\n", "applies to objective huber"),
        ('[objective]\ntransform = ["none", "log1p"]\n', "can't be searched"),
        ('[objective]\nname = ["squared", "bpr"]\n', "must all predict labels"),
        ('[objective]\nname = ["squared", "absolute"]\n', "objective"),
        ("[objective]\nname = {low = 1, high = 2}\n", "list of objectives"),
    ],
)
def test_invalid_spaces_are_refused(folder, config: Config, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_space(written(folder, text), config)


def test_a_span_must_be_able_to_hold_the_config(folder) -> None:
    config = load_config(folder / "config.toml", ["model.kind=mlp", "model.dropout=0"])
    path = written(folder, "[model]\ndropout = {low = 0.1, high = 0.5, log = true}\n")
    with pytest.raises(ConfigError, match=r"model\.dropout is 0\.0"):
        space_of(config, read_space(path, config))


def test_no_file(config: Config, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not read the space"):
        read_space(tmp_path / "nothing.toml", config)
