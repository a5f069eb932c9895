"""Feature encoding: tables to arrays, fitted only on a training set."""

from twotower.features.blocks import Bag, Block, Codes, Dense
from twotower.features.encoder import EncodedSide, Encoder, SideEncoder

__all__ = [
    "Bag",
    "Block",
    "Codes",
    "Dense",
    "EncodedSide",
    "Encoder",
    "SideEncoder",
]
