"""The exception tree: every error that is the user's to mend is a `TwoTowerError`.

The command line turns a `TwoTowerError` into one message and exit code 2; anything else is our fault
(exit code 1). A message gives the rule, the value received and the mend, in that order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TwoTowerError(Exception):
    """Base of all errors caused by input that the user can mend."""


class ConfigError(TwoTowerError):
    """A config file or an argument is wrong: unknown key, unknown method, value out of range."""


class DataError(TwoTowerError):
    """A table is wrong: missing file or column, a value not of its kind, a duplicate or null id."""


class DownloadError(TwoTowerError):
    """A download failed: offline, interrupted, or the checksum does not match."""


class BundleError(TwoTowerError):
    """A saved form can't be loaded or written: missing, truncated, mixed or newer than this version."""


class TrainingError(TwoTowerError):
    """Training can't go on: a non-finite loss, or a checkpoint that belongs to another run."""


class ForkedProcessError(TwoTowerError):
    """A process was forked after Polars had started its threads, which the child lacks."""


class MissingExtraError(TwoTowerError):
    """An optional dependency is not installed; the message says which extra brings it."""


class TwoTowerWarning(UserWarning):
    """Something was left out, cut short, or is not what it was made for; the work goes on."""


def yes_or_no(name: str, value: object) -> bool:
    """Return a switch as a bool; ``"no"`` is a string and counts as true, so that it is refused."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"{name} is True or False, got {value!r}; write it without quotes")
    return bool(value)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of ``valid``, or an empty string if none is near.

    >>> nearest("learning_rat", ["learning_rate", "epochs"])
    " Did you mean 'learning_rate'?"
    """
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f" Did you mean '{found[0]}'?" if found else ""
