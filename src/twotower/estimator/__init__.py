"""The estimator: ``TwoTower(dim=64).fit(train)`` gives a `Recommender`."""

from twotower.estimator.settings import validated
from twotower.estimator.setup import carving_of
from twotower.estimator.two_tower import TwoTower

__all__ = ["TwoTower", "carving_of", "validated"]
