"""Notes on the data on stderr: the first few are printed, the others counted."""

from __future__ import annotations

from twotower.cli.output import log

_SHOWN = 3
_PREFIX = "note: "


class Notes:
    """Prints lines to stderr, but only the first few notes unless ``full``.

    Attributes:
        hidden: how many notes were not printed.
    """

    def __init__(self, *, full: bool) -> None:
        self._full, self._shown, self.hidden = full, 0, 0

    def __call__(self, line: str) -> None:
        """Print a line; hide a note after the first few."""
        if not line.startswith(_PREFIX) or self._full or self._shown < _SHOWN:
            self._shown += line.startswith(_PREFIX)
            log(line)
            return
        self.hidden += 1
