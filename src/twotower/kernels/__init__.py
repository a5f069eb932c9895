"""Kernels: loops over pairs in Numba, and the pairs they run over."""

from twotower.kernels.pairs import Pairs
from twotower.kernels.scoring import score_pairs

__all__ = ["Pairs", "score_pairs"]
