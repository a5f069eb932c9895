"""`Listing`: the catalogue as it is asked about and shown; item ids become rows, found rows a table."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.data.asked import Ids, as_series
from twotower.errors import ConfigError, DataError, TwoTowerWarning
from twotower.retrieval import TopK
from twotower.side import Side

DEFAULT_K = 10
"""Items of a list where nothing is said."""
PLACED = ("rank", "score")
"""Columns of every list beside the ids; names that no other column of it has."""
_SHOWN = 5


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

    def length(self, k: int | None, *, others: bool = False) -> int:
        """Return how long lists are: ``k``, or as many items as there are, or others than one.

        A ``k`` past that is cut, with a `TwoTowerWarning`; None is `DEFAULT_K`, cut without one.

        Raises:
            ConfigError: k is not a whole number from 1.
        """
        most = len(self.items.ids) - others
        other = "other " if others else ""
        if k is None:
            return max(min(DEFAULT_K, most), 1)
        try:
            wanted = operator.index("" if isinstance(k, bool) else k)  # type: ignore[arg-type]
        except TypeError:
            raise ConfigError(
                f"k is a whole number between 1 and the catalogue's {most:,} {other}items, got {k!r}"
            ) from None
        if wanted < 1 or not most:
            raise ConfigError(f"k must lie between 1 and the catalogue's {most:,} {other}items, got {k!r}")
        if wanted > most:
            warnings.warn(
                f"k = {wanted:,} is more than the catalogue's {most:,} {other}items; lists have {most:,}",
                TwoTowerWarning,
                stacklevel=4,
            )
        return min(wanted, most)

    def filters(
        self, allow: Ids | None, deny: Ids | None, *, strict: bool = False
    ) -> dict[str, NDArray[np.int64] | None]:
        """Return lists of item ids as rows. Ids that are not known are counted in a `TwoTowerWarning`.

        Raises:
            DataError: nothing is allowed, or nothing that is known; with ``strict`` any that is not known.
        """
        given = {"allow": allow, "deny": deny}
        return {name: None if ids is None else self._known(ids, name, strict) for name, ids in given.items()}

    def _known(self, ids: Ids, name: str, strict: bool) -> NDArray[np.int64]:
        asked = as_series(ids, name)
        if name == "allow" and not len(asked):
            raise DataError("allow must name at least one item, got an empty list; leave it out to allow all")
        rows = self.items.known(asked, "item") if strict else self.items.rows(asked)
        found: NDArray[np.int64] = rows[rows >= 0]
        if len(found) < len(rows):
            unknown = asked.filter(pl.Series(rows < 0)).unique(maintain_order=True)
            counts = f"{len(unknown):,} of the {asked.n_unique():,} items"
            said = f"{counts} of {name} are not known ({_some(unknown)})"
            if name == "allow" and not len(found):
                raise DataError(f"allow must name at least one item of the catalogue; {said}")
            warnings.warn(f"{said}; they are left out", TwoTowerWarning, stacklevel=5)
        return found

    def table(
        self, top: TopK, asked: pl.Series, item: str | None = None, prefix: str = "user_"
    ) -> pl.DataFrame:
        """Return what was found as a table.

        Args:
            top: item rows and scores (n, k); -1 is left out.
            asked: who asked (n,), under the name of the first column.
            item: name of the second column; None for that of the item column.
            prefix: of the first column, if its name is taken.

        Returns:
            Columns: who asked, item id, ``rank`` (from 1), ``score``, display columns. A name that is taken
                has the prefix (of the first column) or ``item_`` (of the others) before it.
        """
        at, place = np.nonzero(top.items >= 0)
        found = top.items[at, place]
        first = free_name(asked.name, PLACED, prefix)
        second = free_name(item or self.column, (*PLACED, first), "item_")
        table = pl.DataFrame(
            {
                first: asked.gather(at),
                second: self.items.ids.gather(found),
                "rank": (place + 1).astype(np.int32),
                "score": top.scores[at, place],
            }
        )
        taken = list(table.columns)
        names = {}
        for name in self.display.columns[1:]:
            names[name] = free_name(name, taken, "item_")
            taken.append(names[name])
        return pl.concat([table, self.display.drop(self.column)[found].rename(names)], how="horizontal")


def free_name(name: str, taken: Collection[str], prefix: str) -> str:
    """Return a name with a prefix as often as it takes for nothing to have it.

    >>> free_name("rank", ("rank", "score"), "item_"), free_name("title", ("rank", "score"), "item_")
    ('item_rank', 'title')
    """
    while name in taken:
        name = prefix + name
    return name


def _some(ids: pl.Series) -> str:
    shown = ", ".join(repr(one) for one in ids.head(_SHOWN))
    return shown + (", ..." if len(ids) > _SHOWN else "")
