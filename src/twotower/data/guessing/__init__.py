"""Guessing a config from tables: which is what, the roles and the kinds of their columns."""

from twotower.data.guessing.draft import Draft, draft_config
from twotower.data.guessing.tables import Told

__all__ = ["Draft", "Told", "draft_config"]
