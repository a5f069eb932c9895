"""`Listing`: the catalogue as it is asked about and shown; item ids become rows, found rows a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.errors import ConfigError, DataError
from twotower.retrieval import TopK
from twotower.side import Ids, Side


@dataclass(frozen=True)
class Listing:
    """The items that can be asked about, and what is shown of them.

    Attributes:
        items: the catalogue.
        column: name of the item column.
        display: one row an item, in the catalogue's order: id and display columns.
    """

    items: Side
    column: str
    display: pl.DataFrame

    def rows(self, ids: Ids) -> NDArray[np.int64]:
        """Return the row of each item id; `DataError` if one is not known."""
        return self.items.known(ids, "item")

    def check_k(self, k: int, *, others: bool = False) -> None:
        """Raise `ConfigError` unless there are ``k`` items, or ``k`` others than one."""
        most = len(self.items.ids) - others
        if not 1 <= k <= most:
            other = "other " if others else ""
            raise ConfigError(f"k must lie between 1 and the catalogue's {most:,} {other}items, got {k}")

    def filters(self, allow: Ids | None, deny: Ids | None) -> dict[str, NDArray[np.int64] | None]:
        """Return lists of item ids as rows; `DataError` if nothing is allowed or one is not known."""
        if allow is not None and not len(allow):
            raise DataError("allow must name at least one item, got an empty list; leave it out to allow all")
        given = {"allow": allow, "deny": deny}
        return {name: None if ids is None else self.rows(ids) for name, ids in given.items()}

    def table(self, top: TopK, asked: pl.Series) -> pl.DataFrame:
        """Return what was found as a table.

        Args:
            top: item rows and scores (n, k); -1 is left out.
            asked: who asked (n,), under the name of the first column.

        Returns:
            Columns: who asked, item id, ``rank`` (from 1), ``score``, display columns (one whose name is
                taken has ``item_`` before it).
        """
        at, place = np.nonzero(top.items >= 0)
        found = top.items[at, place]
        table = pl.DataFrame(
            {
                asked.name: asked.gather(at),
                self.column: self.items.ids.gather(found),
                "rank": (place + 1).astype(np.int32),
                "score": top.scores[at, place],
            }
        )
        shown = self.display.drop(self.column)[found]
        shown = shown.rename({name: f"item_{name}" for name in shown.columns if name in table.columns})
        return pl.concat([table, shown], how="horizontal")
