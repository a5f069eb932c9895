"""Objectives (losses): pure functions ``(U, V, pairs) -> (loss, dU, dV)`` of vectors and pairs.

The towers meet only at the dot product, so a loss needs neither features nor towers. It takes the vectors of
a step's distinct users and items, and its gradients are propagated back through the towers from there. On the
CPU in float32 the pair loop is one fused Numba kernel, bitwise reproducible for a given number of threads;
otherwise the same formula runs in torch.
"""

from twotower.objectives.all_pairs import AllPairs
from twotower.objectives.bpr import BPR
from twotower.objectives.huber import Huber
from twotower.objectives.logistic import Logistic
from twotower.objectives.objective import Objective, PairLoss, Step, Workspace
from twotower.objectives.pointwise import PointwiseObjective
from twotower.objectives.softmax import Softmax
from twotower.objectives.squared import Squared

__all__ = [
    "BPR",
    "AllPairs",
    "Huber",
    "Logistic",
    "Objective",
    "PairLoss",
    "PointwiseObjective",
    "Softmax",
    "Squared",
    "Step",
    "Workspace",
]
