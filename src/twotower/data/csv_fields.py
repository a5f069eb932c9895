"""Fields of a line of CSV, of any length."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_fields() -> Iterator[None]:
    """Allow the csv module to read fields of any length."""
    limit = csv.field_size_limit(1 << 30)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def fields_of(line: str, separator: str) -> list[str]:
    """Return the fields of a line, which has no CR; none of an empty one."""
    with long_fields():
        return next(csv.reader([line], delimiter=separator), [])
