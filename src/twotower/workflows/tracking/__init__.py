"""Experiment tracking: off by default; a failing tracker never stops a training."""

from twotower.workflows.tracking.kinds import TRACKERS, make_tracking
from twotower.workflows.tracking.tracker import Status, TrackedRun, Tracker
from twotower.workflows.tracking.tracking import Tracked, Tracking

__all__ = ["TRACKERS", "Status", "Tracked", "TrackedRun", "Tracker", "Tracking", "make_tracking"]
