"""Durations on the command line."""

from __future__ import annotations

import pytest

from twotower.core.durations import seconds_of
from twotower.errors import ConfigError


@pytest.mark.parametrize("text", ["", "90", "0d", "1.5d", "-3d", "90 days", "9999999999d"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--keep must be"):
        seconds_of("--keep", text)
