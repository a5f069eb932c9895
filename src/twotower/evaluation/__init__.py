"""Evaluate predictions and rankings on held-out rows: intervals, slices, comparisons."""

from typing import Any

from twotower.core.warn import deprecated
from twotower.data.durations import durations
from twotower.evaluation.beside import BesidePopularity, ByPopularity
from twotower.evaluation.comparison import RatingComparison, compare_ratings
from twotower.evaluation.experiment import Experiment, analyse
from twotower.evaluation.model_evaluation import (
    CANDIDATES,
    Evaluation,
    evaluate_model,
    held_out_task,
)
from twotower.evaluation.off_policy import Logged, OffPolicyEvaluation, evaluate_off_policy
from twotower.evaluation.policies import ListPolicy, Policy, SoftmaxPolicy
from twotower.evaluation.predictor import Predictor
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.evaluation.ranking import (
    RankingComparison,
    RankingEvaluation,
    compare_on_task,
    compare_rankings,
    evaluate_ranking,
)
from twotower.evaluation.ranking_task import RankingTask
from twotower.evaluation.rating import RatingEvaluation, SliceResult, evaluate_rating
from twotower.evaluation.showing import metrics_dict
from twotower.evaluation.validator import Measure, RankingValidator, RatingValidator, Validator

__all__ = [
    "CANDIDATES",
    "BesidePopularity",
    "ByPopularity",
    "Evaluation",
    "Experiment",
    "ListPolicy",
    "Logged",
    "Measure",
    "OffPolicyEvaluation",
    "Policy",
    "Predictor",
    "RankRequest",
    "Ranker",
    "RankingComparison",
    "RankingEvaluation",
    "RankingTask",
    "RankingValidator",
    "RatingComparison",
    "RatingEvaluation",
    "RatingValidator",
    "SliceResult",
    "SoftmaxPolicy",
    "Validator",
    "analyse",
    "compare_on_task",
    "compare_rankings",
    "compare_ratings",
    "durations",
    "evaluate_model",
    "evaluate_off_policy",
    "evaluate_ranking",
    "evaluate_rating",
    "held_out_task",
    "metrics_dict",
]


def __getattr__(name: str) -> Any:
    if name == "Queries":
        deprecated("twotower.evaluation.Queries", "twotower.evaluation.RankRequest")
        return RankRequest
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
