"""The split methods, one in each file; `SPLITS` has them by name."""

from twotower.data.splits.registry import SPLITS
from twotower.data.splits.split import HoldOut, Split

__all__ = ["SPLITS", "HoldOut", "Split"]
