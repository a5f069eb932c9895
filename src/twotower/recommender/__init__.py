"""A trained model as it is used: queries, lists, scores, explanations, and its saved form."""

from twotower.recommender.queries import Queries
from twotower.recommender.query import Query
from twotower.recommender.recommender import Recommender

__all__ = ["Queries", "Query", "Recommender"]
