"""`Probe`: a check of a trained model for one kind of problem."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from twotower.audit.finding import Finder, Finding
from twotower.report.case import Case


class Probe(Finder, ABC):
    """Looks for one kind of problem of a trained model.

    A subclass sets ``name`` and ``looks_for``, and yields findings from `run`. It changes nothing, holds no
    state, and says nothing of a model that it can't judge.
    """

    @abstractmethod
    def run(self, case: Case) -> Iterator[Finding]:
        """Yield what is found in the case."""
