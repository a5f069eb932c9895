"""Experiment tracking: off by default; a failing tracker never stops a training."""

from twotower.workflows.tracking.kinds import TRACKERS, make_tracking
from twotower.workflows.tracking.tracked_run import Tracked, Tracking
from twotower.workflows.tracking.tracker import Status, TrackedRun, Tracker

__all__ = ["TRACKERS", "Status", "Tracked", "TrackedRun", "Tracker", "Tracking", "make_tracking"]
