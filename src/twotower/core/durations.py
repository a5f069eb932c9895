"""`seconds_of`: durations such as ``90d`` on the command line."""

from __future__ import annotations

import re
from typing import Final

from twotower.errors import ConfigError

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d{1,9})([smhdw])\Z")


def seconds_of(option: str, text: str) -> float:
    """Return the seconds of a duration such as ``90d``, given by an option.

    Raises:
        ConfigError: it is not a duration, or it is 0.

    >>> seconds_of("--keep", "90d"), seconds_of("--window", "12h")
    (7776000.0, 43200.0)
    """
    found = _DURATION.match(text.strip())
    if found is None or int(found[1]) == 0:
        raise ConfigError(
            f"{option} must be a whole number above 0 and a unit ({', '.join(_UNITS)}), such as 90d, "
            f"got {text!r}"
        )
    return int(found[1]) * _UNITS[found[2]]
