"""Counted nouns for messages: ``1 row``, ``2,500 rows``."""

from __future__ import annotations


def count_of(n: int, noun: str, plural: str | None = None) -> str:
    """Return a count and its noun, in the plural unless the count is 1.

    Args:
        n: the count; thousands are separated by commas.
        noun: the singular.
        plural: the plural, if it is not the singular with an ``s``.

    >>> count_of(1, "row"), count_of(1234, "row"), count_of(0, "entry", "entries")
    ('1 row', '1,234 rows', '0 entries')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
