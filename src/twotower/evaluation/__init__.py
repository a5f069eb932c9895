"""Models measured on held-out rows, with intervals, by slice, alone or compared: ratings and rankings."""

from twotower.data.durations import durations
from twotower.data.predictor import Predictor
from twotower.data.ranker import Queries, Ranker
from twotower.evaluation.comparison import Comparison, compare_ratings
from twotower.evaluation.ranking import (
    RankingComparison,
    RankingEvaluation,
    compare_rankings,
    evaluate_ranking,
)
from twotower.evaluation.ranking_task import RankingTask
from twotower.evaluation.rating import RatingEvaluation, SliceResult, evaluate_rating

__all__ = [
    "Comparison",
    "Predictor",
    "Queries",
    "Ranker",
    "RankingComparison",
    "RankingEvaluation",
    "RankingTask",
    "RatingEvaluation",
    "SliceResult",
    "compare_rankings",
    "compare_ratings",
    "durations",
    "evaluate_ranking",
    "evaluate_rating",
]
