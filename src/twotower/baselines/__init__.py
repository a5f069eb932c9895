"""Simple models that ours has to beat: the mean, biases, and the row-by-row network we grew from."""

from twotower.baselines.baseline import Baseline
from twotower.baselines.biases import Biases
from twotower.baselines.mean import GlobalMean
from twotower.baselines.notebook import NotebookNetwork

BASELINES: dict[str, type[Baseline]] = {
    GlobalMean.name: GlobalMean,
    Biases.name: Biases,
    NotebookNetwork.name: NotebookNetwork,
}
"""Every rating baseline by its name."""

__all__ = ["BASELINES", "Baseline", "Biases", "GlobalMean", "NotebookNetwork"]
