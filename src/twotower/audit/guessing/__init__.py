"""Guess a config from tables: the role of each table, and the roles and kinds of their columns."""

from twotower.audit.guessing.draft import Draft, draft_config
from twotower.audit.guessing.tables import Told

__all__ = ["Draft", "Told", "draft_config"]
