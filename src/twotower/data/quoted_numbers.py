"""Find the columns of a delimited file with numbers in quotes: "7" is a name, not a quantity."""

from __future__ import annotations

from typing import Final

import numpy as np

from twotower.data.raw_text import RawText

_BLOCK: Final = 1 << 22
_QUOTE, _END = ord('"'), 10
_NUMERIC: Final = np.isin(np.arange(256), np.frombuffer(b"0123456789+-", dtype=np.uint8))


def quoted_numbers(text: RawText, separator: str) -> frozenset[int]:
    """Return the positions (from 0) of the columns in which a field begins with a quote and a digit or sign.

    Args:
        text: the text; every quote must begin or end a field, or be doubled within one.
        separator: one character.
    """
    places: set[int] = set()
    within = np.uint8(0)  # whether the block begins inside quotes
    passed = 0  # separators since the last line end
    before = b"\n"
    with text.open() as stream:
        while block := stream.read(_BLOCK):
            while block[-1] == _QUOTE and (more := stream.read(1)):
                block += more  # whether a quote closes depends on what follows
            codes = np.frombuffer(block, dtype=np.uint8)
            quote = codes == _QUOTE
            inside = np.bitwise_xor.accumulate(quote.view(np.uint8)) ^ within
            outside = inside == 0
            ends = (codes == _END) & outside
            separators = (codes == ord(separator)) & outside
            count = np.cumsum(separators)
            line_ends = np.flatnonzero(ends)
            first = np.append(np.frombuffer(before, dtype=np.uint8), codes[:-1])
            begins = quote & ~outside & ((first == ord(separator)) | (first == _END))
            begins[:-1] &= _NUMERIC[codes[1:]]
            at = np.flatnonzero(begins)
            line = np.searchsorted(line_ends, at)
            base = np.append(-passed, count[line_ends])[line]
            places.update(np.unique(count[at] - base).tolist())
            passed = int(count[-1] - (count[line_ends[-1]] if len(line_ends) else -passed))
            within = inside[-1]
            before = block[-1:]
    return frozenset(places)
