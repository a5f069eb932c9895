"""The configuration: one strictly read TOML file to typed, frozen values."""

from twotower.config.files import differences, dump_config, load_config, recipes, resolved, with_values
from twotower.config.sections import (
    Config,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    ObjectiveConfig,
    PositiveConfig,
    SplitConfig,
    TrainingConfig,
    check_agreement,
)

__all__ = [
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
    "load_config",
    "recipes",
    "resolved",
    "with_values",
]
