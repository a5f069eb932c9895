"""The configuration: one TOML file, read strictly into typed, frozen values."""

from twotower.config.agreement import SOLVABLE, check_agreement, is_solved, set_for_gradients
from twotower.config.config import Config
from twotower.config.files import differences, dump_config, load_config, recipes, resolved, with_values
from twotower.config.sections import (
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    ObjectiveConfig,
    PositiveConfig,
    SplitConfig,
    TrainingConfig,
)

__all__ = [
    "SOLVABLE",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "PositiveConfig",
    "SplitConfig",
    "TrainingConfig",
    "check_agreement",
    "differences",
    "dump_config",
    "is_solved",
    "load_config",
    "recipes",
    "resolved",
    "set_for_gradients",
    "with_values",
]
