"""Lines of messages: broken between words in a terminal, left whole in a file or a pipe."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import TextIO

from rich.cells import cell_len

_BOUND = "\ue000"
"""Stands for the space between a number and its unit, where a line is not broken."""


def fitted(message: str, stream: TextIO) -> str:
    """Return a message whose lines fit the terminal that the stream is; for other streams, the message."""
    if not stream.isatty():
        return message
    width = shutil.get_terminal_size().columns
    return "\n".join(
        line if cell_len(line) <= width else _broken(line, width) for line in message.split("\n")
    )


def _broken(line: str, width: int) -> str:
    bound = re.sub(r"(\d) (?=(?:s|MB|GB)\b)", rf"\1{_BOUND}", line)
    broken = textwrap.fill(bound, width, break_long_words=False, break_on_hyphens=False)
    return broken.replace(_BOUND, " ")
