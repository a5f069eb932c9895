"""Rules between sections: which objective or tower reads a setting, and what is solved in closed form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from twotower.config.sections import ModelConfig, ObjectiveConfig, TrainingConfig

PREDICTING = ("squared", "huber", "logistic")
"""Objectives that predict a label."""
OF_OBJECTIVES: Final[Mapping[str, tuple[str, ...]]] = {
    "objective.transform": PREDICTING,
    "objective.delta": ("huber",),
    "objective.unobserved_weight": ("all_pairs",),
    "objective.min_grade": ("all_pairs",),
    "objective.negatives": ("softmax", "bpr"),
    "objective.hard_negatives": ("softmax",),
    "training.posterior": ("squared",),
}
"""Settings that only some objectives read -> these objectives."""
OF_LAYERS: Final = ("model.embedding_dim", "model.activation", "model.dropout")
"""Settings that only towers with hidden layers read."""
OF_GRADIENTS: Final = (
    "model.id_dropout",
    "training.batch_size",
    "training.learning_rate",
    "training.schedule",
    "training.plateau_factor",
    "training.plateau_patience",
    "training.weight_decay",
    "training.clip_norm",
    "training.posterior",
)
"""Settings that only gradient training reads; towers with hidden layers are always trained by gradients."""
SOLVABLE: Final = ("squared", "all_pairs")
"""Least-squares objectives: with them linear towers are solved in closed form."""


def is_solved(model: ModelConfig, objective: ObjectiveConfig, training: TrainingConfig) -> bool:
    """Return whether the towers are linear and solved in closed form, not trained by gradients.

    They are trained by gradients if a setting that only gradient training reads is not at its default, or,
    with ``model.hidden`` "auto", one that only hidden layers read.
    """
    if objective.name not in SOLVABLE or model.normalise or model.hidden not in ("auto", ()):
        return False
    return not set_for_gradients(model, training)


def set_for_gradients(model: ModelConfig, training: TrainingConfig) -> list[str]:
    """Return the settings changed from their defaults that only gradient training reads; with
    ``model.hidden`` "auto", also those that only hidden layers read."""
    sections = {"model": model, "training": training}
    telling = (*OF_LAYERS, *OF_GRADIENTS) if model.hidden == "auto" else OF_GRADIENTS
    return [key for key in telling if not _at_default(sections, key)]


def _at_default(sections: Mapping[str, BaseModel], key: str) -> bool:
    section, name = key.split(".")
    default = type(sections[section]).model_fields[name].default
    return bool(getattr(sections[section], name) == default)


def check_agreement(model: ModelConfig, objective: ObjectiveConfig, training: TrainingConfig) -> None:
    """Raise `ValueError` if a setting was changed from its default and nothing would read it."""
    sections: dict[str, BaseModel] = {"model": model, "objective": objective, "training": training}

    def refuse(key: str, why: str, fix: str) -> None:
        if not _at_default(sections, key):
            section, name = key.split(".")
            value = getattr(sections[section], name)
            default = type(sections[section]).model_fields[name].default
            standing = "none" if default is None else default
            raise ValueError(f"{key} = {value!r} is {why}; leave it at {standing!r}{fix}")

    for key, owners in OF_OBJECTIVES.items():
        if objective.name not in owners:
            others = " or ".join(f"'{name}'" for name in owners)
            fix = ", without a cap" if key == "objective.transform" else ""
            fix += f", or set objective.name = '{owners[0]}'"
            refuse(key, f"only read by objective {others}, not by '{objective.name}'", fix)
    if not model.normalise:
        refuse("model.temperature", "only for normalised vectors", ", or set model.normalise = true")
    if not model.widths:
        hidden = ", or add a hidden layer (model.hidden = [128])"
        for key in OF_LAYERS:
            refuse(key, "only for towers with hidden layers, and these are linear", hidden)
