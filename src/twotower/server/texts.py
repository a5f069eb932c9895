"""The text that items are searched by: ids and display columns, normalised."""

from __future__ import annotations

import unicodedata
from typing import Any

import polars as pl
from numpy.typing import NDArray


def plain(text: str) -> str:
    """Return a text in lower case and Unicode normal form, as it is compared.

    >>> plain("ＡＢ É") == plain("ab e\u0301")
    True
    """
    return unicodedata.normalize("NFKC", text).lower()


def searchable(display: pl.DataFrame, ids: pl.Series, interactions: NDArray[Any]) -> pl.DataFrame:
    """Return the text of each trained item, one row each.

    Args:
        display: display columns.
        ids: (n,) of the items.
        interactions: (n,) how many each item has.

    Returns:
        Columns ``id``, ``title``, ``text`` (all of it, in one form) and ``interactions``.
    """
    plain_ids = _plain(ids.cast(pl.String))
    texts = [_plain(_as_text(display.get_column(name))) for name in display.columns]
    title = texts[0] if texts else pl.Series([""] * len(ids), dtype=pl.String)
    together = pl.DataFrame([text.alias(str(n)) for n, text in enumerate([plain_ids, *texts])])
    return pl.DataFrame(
        {
            "id": plain_ids,
            "title": title,
            "text": together.select(pl.concat_str(pl.all(), separator="\n", ignore_nulls=True)).to_series(),
            "interactions": interactions,
        }
    )


def _plain(text: pl.Series) -> pl.Series:
    return text.str.normalize("NFKC").str.to_lowercase()


def _as_text(column: pl.Series) -> pl.Series:
    if not column.dtype.is_nested():
        return column.cast(pl.String)
    if isinstance(column.dtype, pl.List):
        return column.cast(pl.List(pl.String)).list.join(" ", ignore_nulls=True)
    return pl.Series([str(value) for value in column.to_list()], dtype=pl.String)
