"""The two towers, from encoded users and items to vectors; independent of pairs, labels and losses."""

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
