"""Kernels: loops over pairs in Numba, the pairs they run over, and where the parts of a vector lie."""

from twotower.kernels.layout import VectorLayout
from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs

__all__ = ["Pairs", "VectorLayout", "score_pairs"]
