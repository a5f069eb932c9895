"""Feature encoding: tables to arrays, fitted only on a training set."""

from twotower.features.blocks import Bag, Block, Codes, Dense
from twotower.features.encoder import EncodedSide, Encoder, SideEncoder
from twotower.features.labels import LabelTransform, label_transform

__all__ = [
    "Bag",
    "Block",
    "Codes",
    "Dense",
    "EncodedSide",
    "Encoder",
    "LabelTransform",
    "SideEncoder",
    "label_transform",
]
