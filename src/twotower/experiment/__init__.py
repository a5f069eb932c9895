"""From a config to a run: read, split, train, evaluate, save; and the batch work with what was saved."""

from twotower.experiment.batch import recommend_all, score_file
from twotower.experiment.comparing import OURS, compare, compare_with_baselines
from twotower.experiment.demo import DemoResult, demo
from twotower.experiment.parts import load_parts
from twotower.experiment.run import Run
from twotower.experiment.training import RunResult, evaluate, train

__all__ = [
    "OURS",
    "DemoResult",
    "Run",
    "RunResult",
    "compare",
    "compare_with_baselines",
    "demo",
    "evaluate",
    "load_parts",
    "recommend_all",
    "score_file",
    "train",
]
