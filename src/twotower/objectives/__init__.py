"""Objectives: pure functions ``(U, V, pairs) -> (loss, dU, dV)`` of user vectors, item vectors and pairs.

The towers meet only at the dot product, so a loss needs neither features nor towers: it takes the vectors of
the distinct users and items of a step, and its gradients flow back through the towers from there. On the CPU
in float32 the pair loop is one fused Numba kernel, the same bits at the same number of threads; elsewhere it
is the same formula in torch.
"""

from twotower.objectives.all_pairs import AllPairs
from twotower.objectives.bpr import BPR
from twotower.objectives.fold_in import FoldIn, FoldInSettings, unit_precision
from twotower.objectives.huber import Huber
from twotower.objectives.logistic import Logistic
from twotower.objectives.objective import Objective, PairLoss, Step, Workspace
from twotower.objectives.pairs import Pairs
from twotower.objectives.pointwise import PointwiseObjective
from twotower.objectives.scoring import score_pairs
from twotower.objectives.softmax import Softmax
from twotower.objectives.squared import Squared

__all__ = [
    "BPR",
    "AllPairs",
    "FoldIn",
    "FoldInSettings",
    "Huber",
    "Logistic",
    "Objective",
    "PairLoss",
    "Pairs",
    "PointwiseObjective",
    "Softmax",
    "Squared",
    "Step",
    "Workspace",
    "score_pairs",
    "unit_precision",
]
