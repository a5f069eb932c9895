"""JSON lines, block by block: one pass tells the dtypes of the columns, another reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from twotower.data.checks import require_columns
from twotower.data.json_lines import check_keys, json_fault, json_start, read_json_lines
from twotower.data.raw_text import RawText
from twotower.data.reading import Reading
from twotower.data.streaming.asked import Casts
from twotower.data.streaming.cell_facts import Typing
from twotower.data.streaming.row_blocks import row_blocks
from twotower.data.table_parts import has_long

_SAMPLES: dict[Any, Any] = {
    pl.Int64: 1,
    pl.Float64: 1.5,
    pl.Boolean: True,
    pl.String: "a",
    pl.Int128: 10**20,
    pl.Null: None,
}


class JsonBlocks:
    """A file of JSON records whose columns are read block by block, as `read_json_lines` reads them at once.

    A file with one array of records is read whole.

    Args:
        text: the text, opened as a stream.
        how: dtypes as in `read_table`.
        rows: the most rows of a block.
    """

    def __init__(self, text: RawText, how: Reading, rows: int) -> None:
        self._text, self._how, self._rows = text, how, rows
        self._array = json_start(text).lstrip().startswith(b"[")
        with text.open() as stream:
            check_keys(stream, str(text.path), one_array=self._array)

    def scan(self, columns: Sequence[str] | None) -> int:
        """Read the file once, and return its number of rows; errors as in `read_json_lines`."""
        found, rows = self._found
        self.columns = list(found if columns is None else columns)
        require_columns(list(found), self.columns, str(self._text.path))
        self._schema = {name: self._common(found[name]) for name in self.columns}
        return rows

    @property
    def names(self) -> list[str]:
        """Names of all columns: every key of any record."""
        return list(self._found[0])

    @cached_property
    def _found(self) -> tuple[dict[str, list[pl.DataType]], int]:
        """The dtypes of each column in the blocks, and the number of rows."""
        if self._array:
            whole = self._whole(None)
            return {name: [dtype] for name, dtype in whole.schema.items()}, whole.height
        found: dict[str, list[pl.DataType]] = {}
        rows = 0
        for block in self._blocks():
            schema, height = self._schema_of(block)
            rows += height
            for name, dtype in schema.items():
                seen = found.setdefault(name, [])
                if dtype not in seen:
                    seen.append(dtype)
        return found, rows

    def typing(self, name: str) -> Typing:
        """Return the dtype of a column if the table is this file alone."""
        asked = self._how.dtypes.get(name)
        if asked is not None:
            return Typing(pl.Series([], dtype=asked).dtype)
        return Typing(self._stored(name))

    def has_long(self, name: str) -> bool:
        """Return whether a column has whole numbers that floats may not represent exactly."""
        return any(has_long(values) for values in self._values(name))

    def frames(self, typings: Mapping[str, Typing]) -> Iterator[pl.DataFrame]:
        """Yield the columns in some dtypes, after `scan`; errors as in `read_json_lines`."""
        stored = {name: self._stored(name) for name in typings}
        casts = Casts(str(self._text.path), stored, self._how, self._values)
        start = 0
        for frame in self._read(list(typings)):
            yield casts.typed(frame, typings, start)
            start += frame.height

    def _stored(self, name: str) -> pl.DataType:
        """Return the dtype of a column in which long whole numbers are strings."""
        return pl.String() if self._schema[name] == pl.Int128 else self._schema[name]

    def _values(self, name: str) -> Iterator[pl.Series]:
        return (frame.get_column(name) for frame in self._read([name]))

    def _read(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        if self._array:
            yield from self._whole(columns).iter_slices(self._rows)
            return
        schema = {name: self._schema[name] for name in columns}
        for block in self._blocks():
            frame = self._parsed(block, schema)
            if frame.height:
                yield frame.select(columns).with_columns(pl.col(pl.Int128).cast(pl.String))

    def _whole(self, columns: Sequence[str] | None) -> pl.DataFrame:
        with self._text.open() as stream:
            return read_json_lines(RawText(self._text.path, stream.read()), columns)

    def _blocks(self) -> Iterator[RawText]:
        return row_blocks(self._text, 0, self._rows, ",", quotes=False)

    def _schema_of(self, block: RawText) -> tuple[Mapping[str, pl.DataType], int]:
        content = block.content or b""
        if not content.strip():
            return {}, 0
        try:
            frame = pl.scan_ndjson(content, infer_schema_length=None)
            return frame.collect_schema(), frame.select(pl.len()).collect().item()
        except (PolarsError, OverflowError) as error:
            raise json_fault(self._text, str(error)) from None

    def _parsed(self, block: RawText, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        content = block.content or b""
        if not content.strip():
            return pl.DataFrame(schema=schema)
        try:
            return pl.read_ndjson(content, schema=schema)
        except (PolarsError, OverflowError) as error:
            raise json_fault(self._text, str(error)) from None

    def _common(self, dtypes: Sequence[pl.DataType]) -> pl.DataType:
        """Return the dtype that Polars finds in a file whose blocks have some dtypes."""
        if len(dtypes) == 1:
            return dtypes[0]
        lines = "\n".join(json.dumps({"a": _sample(dtype)}) for dtype in dtypes)
        try:
            return pl.read_ndjson(lines.encode(), infer_schema_length=None).schema["a"]
        except (PolarsError, OverflowError) as error:
            raise json_fault(self._text, str(error)) from None


def _sample(dtype: pl.DataType) -> Any:
    """Return a value that Polars reads from JSON in a dtype."""
    if isinstance(dtype, pl.List):
        return [] if dtype.inner == pl.Null else [_sample(dtype.inner)]  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return {field.name: _sample(field.dtype) for field in dtype.fields}  # type: ignore[arg-type]
    return _SAMPLES[dtype.base_type()]
