"""The two towers: encoded users and items to vectors. Nothing here knows of pairs, labels or losses."""

from twotower.model.arrays import SideArrays
from twotower.model.layers import ACTIVATIONS, RowTable
from twotower.model.linear_tower import LinearTower
from twotower.model.tower import LayeredTower, Tower
from twotower.model.two_tower import TwoTowerModel

__all__ = [
    "ACTIVATIONS",
    "LayeredTower",
    "LinearTower",
    "RowTable",
    "SideArrays",
    "Tower",
    "TwoTowerModel",
]
