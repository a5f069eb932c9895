"""Guessing a config from tables: which is what, the roles and the kinds of their columns."""

from twotower.data.guessing.draft import Draft, draft_config

__all__ = ["Draft", "draft_config"]
