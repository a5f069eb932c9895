"""Models scored on held-out rows: rating metrics with intervals, by slice, alone or compared."""

from twotower.data.durations import durations
from twotower.data.predictor import Predictor
from twotower.evaluation.comparison import Comparison, compare_ratings
from twotower.evaluation.rating import RatingEvaluation, SliceResult, evaluate_rating

__all__ = [
    "Comparison",
    "Predictor",
    "RatingEvaluation",
    "SliceResult",
    "compare_ratings",
    "durations",
    "evaluate_rating",
]
