"""Runs told to an experiment tracker: off unless asked for, and never in the way of a training."""

from twotower.tracking.kinds import TRACKERS, make_tracking
from twotower.tracking.tracker import Status, TrackedRun, Tracker
from twotower.tracking.tracking import Tracked, Tracking

__all__ = ["TRACKERS", "Status", "Tracked", "TrackedRun", "Tracker", "Tracking", "make_tracking"]
