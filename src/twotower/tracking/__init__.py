"""Experiment tracking: off by default; a failing tracker never stops a training."""

from twotower.tracking.kinds import TRACKERS, make_tracking
from twotower.tracking.tracker import Status, TrackedRun, Tracker
from twotower.tracking.tracking import Tracked, Tracking

__all__ = ["TRACKERS", "Status", "Tracked", "TrackedRun", "Tracker", "Tracking", "make_tracking"]
