"""The configuration: one TOML file, read strictly into typed, frozen values."""

from twotower.config.bases import ModelConfig, ObjectiveConfig, TrainingConfig
from twotower.config.config import Config
from twotower.config.files import differences, dump_config, load_config, recipes, resolved, with_values
from twotower.config.sections import DataConfig, EvaluationConfig, PositiveConfig, SplitConfig

__all__ = [
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "PositiveConfig",
    "SplitConfig",
    "TrainingConfig",
    "differences",
    "dump_config",
    "load_config",
    "recipes",
    "resolved",
    "with_values",
]
