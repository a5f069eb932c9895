"""Baseline models to compare against.

For labels: the mean, biases, and a row-by-row neural network. For rankings: popularity, nearest neighbours,
random walks, what follows what, and the linear and factor models that are hard to beat when tuned.
"""

from twotower.baselines.baseline import Baseline
from twotower.baselines.biases import Biases
from twotower.baselines.bpr import BPR
from twotower.baselines.content_knn import ContentKNN
from twotower.baselines.ease import EASE
from twotower.baselines.ials import IALS
from twotower.baselines.item_knn import ItemKNN
from twotower.baselines.mean import GlobalMean
from twotower.baselines.next_item import NextItemCounts
from twotower.baselines.notebook import NotebookNetwork
from twotower.baselines.popularity import CategoryPopularity, Popularity
from twotower.baselines.ranking import RankingBaseline
from twotower.baselines.recent_popularity import RecentPopularity
from twotower.baselines.registry import BASELINES, RANKING_BASELINES
from twotower.baselines.rp3beta import RP3beta

__all__ = [
    "BASELINES",
    "BPR",
    "EASE",
    "IALS",
    "RANKING_BASELINES",
    "Baseline",
    "Biases",
    "CategoryPopularity",
    "ContentKNN",
    "GlobalMean",
    "ItemKNN",
    "NextItemCounts",
    "NotebookNetwork",
    "Popularity",
    "RP3beta",
    "RankingBaseline",
    "RecentPopularity",
]
