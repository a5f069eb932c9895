"""Items as Milvus takes them: the fields of a collection, and rows to insert."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from twotower.retrieval.databases.columns import ID, ROW, VECTOR
from twotower.retrieval.databases.database import Items

_BYTES = 32 << 20
_ROWS = 10_000
"""Of one insertion, at most."""
_TYPES: Final = {"integer": "INT64", "number": "DOUBLE", "boolean": "BOOL", "text": "VARCHAR"}


def schema_of(library: Any, items: Items) -> Any:
    """Return the fields of a collection: row, id, a field for each column, vector."""
    types = library.DataType
    schema = library.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ROW, types.INT64, is_primary=True)
    if items.ids.dtype == pl.String:
        schema.add_field(ID, types.VARCHAR, max_length=max(1, int(items.ids.str.len_bytes().max())))  # type: ignore[arg-type]
    else:
        schema.add_field(ID, types.INT64)
    for column in items.columns:
        own = getattr(types, _TYPES[column.kind])
        longest = {"max_length": column.longest} if column.kind == "text" else {}
        if column.many:
            schema.add_field(
                column.field,
                types.ARRAY,
                element_type=own,
                max_capacity=column.most,
                nullable=True,
                **longest,
            )
        else:
            schema.add_field(column.field, own, nullable=True, **longest)
    schema.add_field(VECTOR, types.FLOAT_VECTOR, dim=items.vectors.shape[1])
    return schema


def blocks(items: Items) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows block by block, each small enough for one message."""
    n, dim = items.vectors.shape
    fields = [column.field for column in items.columns]
    texts = sum(column.longest * (column.most if column.many else 1) for column in items.columns)
    size = max(1, min(_ROWS, _BYTES // (4 * dim + texts + 64)))
    for start in range(0, n, size):
        stop = min(start + size, n)
        ids = items.ids.slice(start, stop - start).to_list()
        values = items.columns.rows(start, stop)
        yield [
            {ROW: row, ID: name, **dict(zip(fields, own, strict=True)), VECTOR: items.vectors[row]}
            for row, name, own in zip(range(start, stop), ids, values, strict=True)
        ]
