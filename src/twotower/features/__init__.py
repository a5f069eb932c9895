"""Feature columns to arrays: one file for each kind of column, and the encoder of all columns."""

from twotower.config.kinds import KINDS, ColumnEncoder, FeatureKind
from twotower.core.blocks import Bag, Block, Codes, Dense, Form
from twotower.features.encoder import ContextEncoder, EncodedSide, Encoder, SideEncoder

__all__ = [
    "KINDS",
    "Bag",
    "Block",
    "Codes",
    "ColumnEncoder",
    "ContextEncoder",
    "Dense",
    "EncodedSide",
    "Encoder",
    "FeatureKind",
    "Form",
    "SideEncoder",
]
