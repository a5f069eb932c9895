"""Search for a better config on the validation set; its gain is corrected for selection bias."""

from twotower.tuning.budget import Budget
from twotower.tuning.optimism import Gain, corrected_gain
from twotower.tuning.scoring import Measure
from twotower.tuning.space import Choices, Space, Span, default_space, read_space
from twotower.tuning.trials import Trial
from twotower.tuning.tuning import space_of, tune
from twotower.tuning.watching import Watcher

__all__ = [
    "Budget",
    "Choices",
    "Gain",
    "Measure",
    "Space",
    "Span",
    "Trial",
    "Watcher",
    "corrected_gain",
    "default_space",
    "read_space",
    "space_of",
    "tune",
]
