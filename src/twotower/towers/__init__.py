"""The two towers, from encoded users and items to vectors; independent of pairs, labels and losses."""

from twotower.towers.arrays import SideArrays
from twotower.towers.finished import finished
from twotower.towers.fold_in import FoldIn, FoldInSettings
from twotower.towers.history import History
from twotower.towers.layers import ACTIVATIONS
from twotower.towers.linear import LinearTower
from twotower.towers.mlp import MLPTower
from twotower.towers.model import TwoTowerModel
from twotower.towers.tower import Tower

__all__ = [
    "ACTIVATIONS",
    "FoldIn",
    "FoldInSettings",
    "History",
    "LinearTower",
    "MLPTower",
    "SideArrays",
    "Tower",
    "TwoTowerModel",
    "finished",
]
