"""`SOURCES`: the sources of candidates by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twotower.core.registry import Registry

if TYPE_CHECKING:
    from twotower.ranking.sources.source import Source

SOURCES: Registry[Source] = Registry(
    "source",
    "twotower.ranking.sources",
    {
        "popular": "popular:Popular",
        "recent": "popular:Recent",
        "neighbours": "neighbours:ItemNeighbours",
        "next": "neighbours:Next",
        "similar": "similar:Similar",
    },
)
"""The values of ``ranker.sources``."""
