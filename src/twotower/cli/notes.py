"""Notes on the data among the lines on stderr: a few are shown, the others counted."""

from __future__ import annotations

from twotower.cli.output import log

_SHOWN = 3
_PREFIX = "note: "


class Notes:
    """Prints lines to stderr, of the notes only the first few unless all are wanted.

    Attributes:
        hidden: how many notes were not printed.
    """

    def __init__(self, *, full: bool) -> None:
        self._full, self._shown, self.hidden = full, 0, 0

    def __call__(self, line: str) -> None:
        """Print a line, unless it is a note too many."""
        if not line.startswith(_PREFIX) or self._full or self._shown < _SHOWN:
            self._shown += line.startswith(_PREFIX)
            log(line)
            return
        self.hidden += 1
