"""RecBole's atomic files, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from twotower.data.checks import require_columns
from twotower.data.raw_text import RawText
from twotower.data.reading import Reading
from twotower.data.recbole import AS, field_types, sequences, typed_fields
from twotower.data.streaming.cell_facts import CellFacts, Typing
from twotower.data.streaming.delimited import DelimitedBlocks


class RecboleBlocks:
    """An atomic file whose columns are read block by block, as `read_recbole` reads them at once.

    Args:
        text: the text, opened as a stream.
        how: dtypes as in `read_table`.
        rows: the most rows of a block.
    """

    def __init__(self, text: RawText, how: Reading, rows: int) -> None:
        header = DelimitedBlocks(text, AS, Reading({}), rows).header
        self._types = field_types(header.names, text.path)
        self._path, self._how = text.path, how
        self._fields = {name: f"{name}:{kind}" for name, kind in self._types.items()}
        self._inner = DelimitedBlocks(text, AS, Reading(typed_fields(self._types, how.dtypes)), rows)

    @property
    def names(self) -> list[str]:
        """Names of all columns."""
        return list(self._types)

    def scan(self, columns: Sequence[str] | None) -> int:
        """Read the file once, and return its number of rows; errors as in `read_recbole`."""
        self.columns = list(self._types if columns is None else columns)
        require_columns(list(self._types), self.columns, str(self._path))
        return self._inner.scan([self._fields[name] for name in self.columns])

    def facts(self, name: str) -> CellFacts:
        """Return what is known of a column when it is read as text."""
        return self._inner.facts(self._fields[name])

    def typing(self, name: str) -> Typing:
        """Return how a column is read if the table is this file alone."""
        if self._is_sequence(name):
            return Typing(pl.List(pl.String if self._types[name] == "token_seq" else pl.Float64))
        return self._inner.typing(self._fields[name])

    def has_long(self, name: str) -> bool:
        """Return whether a column has whole numbers that floats may not represent exactly."""
        return self._inner.has_long(self._fields[name])

    def as_text(self, name: str, typing: Typing) -> Typing:
        """Return a typing of text that `facts` describes as one of the column as it is in the file."""
        return self._inner.as_text(self._fields[name], typing)

    def frames(self, typings: Mapping[str, Typing]) -> Iterator[pl.DataFrame]:
        """Yield the columns in some dtypes, after `scan`; errors as in `read_recbole`."""
        lists = [name for name in typings if self._is_sequence(name)]
        inner = {
            self._fields[name]: self._inner.typing(self._fields[name]) if name in lists else typing
            for name, typing in typings.items()
        }
        start = 0
        for frame in self._inner.frames(inner):
            named = frame.rename({self._fields[name]: name for name in typings})
            yield sequences(named, lists, self._types, self._path, start)
            start += frame.height

    def _is_sequence(self, name: str) -> bool:
        return self._types[name].endswith("_seq") and name not in self._how.dtypes
