"""From a config to a run: read, split, train, evaluate, save; and batch work with saved runs."""

from twotower.workflows.baselines_file import TunedSettings
from twotower.workflows.batch import read_items, recommend_all, score_file
from twotower.workflows.comparing import (
    OURS,
    Comparison,
    compare,
    compare_predictors,
    compare_rankers,
    compare_run,
)
from twotower.workflows.demonstration import DemoResult, demo
from twotower.workflows.indexing import Indexed, build_index
from twotower.workflows.logged import LoggedEvaluation, evaluate_logged
from twotower.workflows.publishing import publish
from twotower.workflows.reading import check_positives, load_parts
from twotower.workflows.run import Run
from twotower.workflows.seeds import seed_configs, spread, train_seeds
from twotower.workflows.training import RunResult, evaluate, train

__all__ = [
    "OURS",
    "Comparison",
    "DemoResult",
    "Indexed",
    "LoggedEvaluation",
    "Run",
    "RunResult",
    "TunedSettings",
    "build_index",
    "check_positives",
    "compare",
    "compare_predictors",
    "compare_rankers",
    "compare_run",
    "demo",
    "evaluate",
    "evaluate_logged",
    "load_parts",
    "publish",
    "read_items",
    "recommend_all",
    "score_file",
    "seed_configs",
    "spread",
    "train",
    "train_seeds",
]
