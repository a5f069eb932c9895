"""Warnings that point at the line of the user's code."""

from __future__ import annotations

import sys
import warnings

from twotower.errors import TwoTowerWarning


def warn(message: str, category: type[Warning] = TwoTowerWarning) -> None:
    """Warn at the line of the user's code that led here, the nearest one outside this package."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "twotower":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def deprecated(old: str, new: str) -> None:
    """Warn that a name will be removed in the next version, and name its replacement."""
    warn(f"{old} is deprecated and will be removed in the next version; use {new}", DeprecationWarning)
