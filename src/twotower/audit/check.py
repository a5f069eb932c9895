"""`Check`: looks for one kind of problem in a `Case`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from twotower.audit.case import Case
from twotower.audit.finding import Finder, Finding


class Check(Finder, ABC):
    """Looks for one kind of problem.

    A subclass sets ``name`` and ``looks_for``, and yields findings from `run`. It changes nothing, has no
    state, and reports nothing on data that it can't judge (too few rows, no such column).
    """

    @abstractmethod
    def run(self, case: Case) -> Iterator[Finding]:
        """Yield the findings."""
