"""The available trackers, and parsing of ``--track``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twotower.errors import ConfigError, nearest
from twotower.workflows.tracking._mlflow import MLflow
from twotower.workflows.tracking._tensorboard import TensorBoard
from twotower.workflows.tracking.tracked_run import Log, Tracking
from twotower.workflows.tracking.tracker import Tracker

TRACKERS: Final[Mapping[str, Callable[[str | None], Tracker]]] = {
    kind.kind: kind for kind in (MLflow, TensorBoard)
}
"""Kind -> function from an address (None for the default) to the tracker."""


def make_tracking(told: Sequence[str], log: Log) -> Tracking:
    """Return the tracking that ``--track`` options describe.

    Args:
        told: ``mlflow`` or ``tensorboard``, each optionally followed by ``=`` and an address.
        log: called with one line if a tracker fails.

    Raises:
        ConfigError: there is no such tracker.
        MissingExtraError: its library is not installed.
    """
    trackers = []
    for one in dict.fromkeys(told):
        kind, equals, address = one.partition("=")
        if kind not in TRACKERS or (equals and not address):
            raise ConfigError(
                f"--track takes {' or '.join(TRACKERS)}, optionally with =ADDRESS; got {one!r}."
                f"{nearest(kind, TRACKERS) if kind not in TRACKERS else ''}"
            )
        trackers.append(TRACKERS[kind](address or None))
    return Tracking.to(trackers, log)
