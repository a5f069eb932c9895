"""`Budget`: how long a search may take, in trials or in minutes, over all its breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twotower.errors import ConfigError
from twotower.tuning.trials import Trial, counted

DEFAULT_TRIALS = 50


@dataclass(frozen=True)
class Budget:
    """Most trials and most minutes of a search; whichever is spent first ends it.

    Attributes:
        trials: the given config's included.
        minutes: of trials; what comes after the search comes on top.
    """

    trials: int | None
    minutes: float | None

    @classmethod
    def of(cls, trials: int | None, minutes: float | None) -> Budget:
        """Return a budget; of 50 trials, where nothing is said.

        Raises:
            ConfigError: there is no room for a trial in it.
        """
        if trials is not None and trials < 1:
            raise ConfigError(f"--trials must be at least 1, got {trials}; the first is the given config")
        if minutes is not None and not minutes > 0.0:
            raise ConfigError(f"--minutes must be more than 0, got {minutes:g}")
        if trials is None and minutes is None:
            trials = DEFAULT_TRIALS
        return cls(trials, minutes)

    def spent(self, trials: Sequence[Trial]) -> str | None:
        """Return why the search is over, None if there is something left."""
        done = counted(trials)
        if self.trials is not None and len(done) >= self.trials:
            return f"{len(done)} trials"
        if self.minutes is not None and done and self.seconds_left(trials) <= 0.0:
            return f"{self.minutes:g} minutes"
        return None

    def seconds_left(self, trials: Sequence[Trial]) -> float:
        """Return how long the search may still take."""
        if self.minutes is None:
            return float("inf")
        return 60.0 * self.minutes - sum(trial.seconds for trial in counted(trials))
