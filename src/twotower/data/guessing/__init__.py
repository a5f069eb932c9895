"""Guess a config from tables: the role of each table, and the roles and kinds of their columns."""

from twotower.data.guessing.draft import Draft, draft_config
from twotower.data.guessing.tables import Told

__all__ = ["Draft", "Told", "draft_config"]
