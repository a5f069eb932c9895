"""Search for a better config on the validation set; its gain is corrected for selection bias."""

from twotower.workflows.tuning.budget import Budget
from twotower.workflows.tuning.optimism import Gain, corrected_gain
from twotower.workflows.tuning.search_and_test import space_of, tune
from twotower.workflows.tuning.space import Choices, Space, Span, default_space, read_space
from twotower.workflows.tuning.trials import Trial
from twotower.workflows.tuning.watching import Watcher

__all__ = [
    "Budget",
    "Choices",
    "Gain",
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
