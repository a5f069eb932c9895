"""`Budget`: the limit of a search in trials or minutes, counted across resumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twotower.core.wording import count_of
from twotower.errors import ConfigError
from twotower.workflows.tuning.trials import Trial, counted

DEFAULT_TRIALS = 50


@dataclass(frozen=True)
class Budget:
    """The most trials and minutes of a search; the first limit reached ends it.

    Attributes:
        trials: including the original config.
        minutes: spent on trials; the final test runs are not counted.
    """

    trials: int | None
    minutes: float | None

    @classmethod
    def of(cls, trials: int | None, minutes: float | None) -> Budget:
        """Return a budget; 50 trials by default.

        Raises:
            ConfigError: the budget is too small for one trial.
        """
        if trials is not None and trials < 1:
            raise ConfigError(f"--trials must be at least 1, got {trials}; the first trial is your config")
        if minutes is not None and not minutes > 0.0:
            raise ConfigError(f"--minutes must be more than 0, got {minutes:g}")
        if trials is None and minutes is None:
            trials = DEFAULT_TRIALS
        return cls(trials, minutes)

    def spent(self, trials: Sequence[Trial]) -> str | None:
        """Return which limit was reached, or None if budget is left."""
        done = counted(trials)
        if self.trials is not None and len(done) >= self.trials:
            return count_of(len(done), "trial")
        if self.minutes is not None and done and self.seconds_left(trials) <= 0.0:
            return f"{self.minutes:g} min"
        return None

    def seconds_left(self, trials: Sequence[Trial]) -> float:
        """Return the seconds left for the search."""
        if self.minutes is None:
            return float("inf")
        return 60.0 * self.minutes - sum(trial.seconds for trial in counted(trials))
