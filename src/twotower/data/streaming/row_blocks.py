"""A text cut into blocks of whole rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twotower.data.quotes import marks
from twotower.data.raw_text import RawText

_BYTES = 1 << 24
"""The size of a block, whatever its number of rows."""
_DOUBTFUL = 1 << 26
"""A row that is longer is checked for a quote in an invalid place."""
_END, _QUOTE = ord("\n"), ord('"')


class OddQuotes(Exception):
    """A quote is in an invalid place, so that the ends of rows can't be told from the number of quotes."""


def row_blocks(text: RawText, skip: int, rows: int, separator: str, *, quotes: bool) -> Iterator[RawText]:
    """Yield a text in blocks of at most ``rows`` rows, blank lines included.

    Args:
        text: the text.
        skip: number of lines at its beginning to leave out.
        rows: the most rows of a block.
        separator: what separates fields.
        quotes: whether a line end between quotes is part of a value.

    Raises:
        OddQuotes: a long row contains a quote in an invalid place; shorter ones are not checked.
    """
    above, rest = text.above, b""
    with text.open() as stream:
        for _ in range(skip):
            above += bool(stream.readline())
        while data := stream.read(_BYTES):
            content = rest + data
            codes = np.frombuffer(content, dtype=np.uint8)
            ends = np.flatnonzero(codes == _END) + 1
            lines = ends
            if quotes and b'"' in content:
                inside = np.bitwise_xor.accumulate((codes == _QUOTE).view(np.uint8)).view(np.bool_)
                ends = ends[~inside[ends - 1]]
            start = 0
            for end in [*ends[rows - 1 :: rows].tolist(), *ends[-1:].tolist()]:
                if end > start:
                    yield RawText(text.path, content[start:end], above)
                    above += int(
                        np.searchsorted(lines, end, "right") - np.searchsorted(lines, start, "right")
                    )
                    start = end
            rest = content[start:]
            closed = rest + b'"' * (rest.count(b'"') % 2) if quotes and len(rest) > _DOUBTFUL else b""
            if closed and marks(RawText(text.path, closed), separator).odd:
                raise OddQuotes
    if rest:
        yield RawText(text.path, rest, above)
