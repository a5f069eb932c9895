"""`CatalogueView`: the items, or the users, as they are asked about and shown."""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.asked import Ids, as_series
from twotower.core.warn import warn
from twotower.core.wording import count_of
from twotower.errors import ConfigError, DataError
from twotower.recommender.parts import EntityVectors
from twotower.retrieval import Candidates

Rows = NDArray[np.integer[Any]]
Allowed = Rows | NDArray[np.bool_]
"""What a search may give: rows in any order, or a mask of all."""
DEFAULT_K = 10
"""Items of a list where nothing is said."""
PLACED = ("rank", "score")
"""Columns of every list beside the ids; names that no other column of it has."""
_SHOWN = 5


@dataclass(frozen=True)
class CatalogueView:
    """The items, or the users, and what is shown of them.

    Attributes:
        entities: the items or the users.
        what: "item" or "user".
        column: name of their id column.
        display: one row each, in the order of the ids: id and display columns.
    """

    entities: EntityVectors
    what: str
    column: str
    display: pl.DataFrame

    def length(self, k: int | None, *, others: bool = False) -> int:
        """Return how long lists are: ``k``, or as many as there are, or as there are besides one.

        A larger ``k`` is cut, with a `TwoTowerWarning`; None is `DEFAULT_K`, cut without one.

        Raises:
            ConfigError: k is not a whole number from 1.
        """
        most = len(self.entities.ids) - others
        there = f"{self._all} {most:,} {'other ' if others else ''}{self.what}s"
        if k is None:
            return max(min(DEFAULT_K, most), 1)
        try:
            wanted = operator.index("" if isinstance(k, bool) else k)  # type: ignore[arg-type]
        except TypeError:
            raise ConfigError(f"k must be a whole number, at least 1, got {k!r}") from None
        if wanted < 1:
            raise ConfigError(f"k must be at least 1, got {k!r}")
        if not most:
            raise ConfigError(f"a list needs at least one {self.what} to choose from; there are {there}")
        if wanted > most:
            warn(f"k = {wanted:,} is more than {there}; lists have at most {most:,}")
        return min(wanted, most)

    @property
    def _all(self) -> str:
        return "the catalogue's" if self.what == "item" else "the model's"

    def allowed(
        self, allow: Ids | None, deny: Ids | None, columns: Rows | None = None, *, strict: bool = False
    ) -> Allowed | None:
        """Return which rows may be given, None for all. Unknown ids are counted in a `TwoTowerWarning`.

        Args:
            allow: ids; None for all.
            deny: ids; None for none.
            columns: the only rows that may be given, by their display columns; None for all.
            strict: whether an id that is not known is an error.

        Raises:
            DataError: nothing is allowed, or nothing that is known; with ``strict`` any that is not known.
        """
        rows = None if allow is None else self._known(allow, "allow", strict)
        denied = np.empty(0, np.int64) if deny is None else self._known(deny, "deny", strict)
        if columns is not None:
            rows = columns if rows is None else np.intersect1d(rows, columns)
        if rows is not None:
            return np.setdiff1d(rows, denied) if len(denied) else rows
        if not len(denied):
            return None
        mask = np.ones(len(self.entities), dtype=np.bool_)
        mask[denied] = False
        return mask

    def _known(self, ids: Ids, name: str, strict: bool) -> Rows:
        asked = as_series(ids, name)
        if name == "allow" and not len(asked):
            raise DataError(
                f"allow must name at least one {self.what}, got an empty list; leave it out to allow all"
            )
        rows = self.entities.known_rows(asked, self.what) if strict else self.entities.rows(asked)
        found: Rows = rows[rows >= 0]
        if len(found) < len(rows):
            unknown = asked.filter(pl.Series(rows < 0)).unique(maintain_order=True)
            counts = f"{len(unknown):,} of the {asked.n_unique():,} {self.what}s"
            said = f"{counts} of {name} are not known ({_some(unknown)})"
            if name == "allow" and not len(found):
                there = "of the catalogue" if self.what == "item" else "that the model knows"
                raise DataError(f"allow must name at least one {self.what} {there}; {said}")
            warn(f"{said}; they are left out")
        return found

    def table(
        self, top: Candidates, asked: Sequence[pl.Series], found: str | None = None, prefix: str = "user_"
    ) -> pl.DataFrame:
        """Return what was found as a table.

        Args:
            top: what was found for each query; the padding is left out.
            asked: columns (n,) that say what each list answers.
            found: the column of the found ids; None for the name of the id column.
            prefix: of the columns of ``asked`` whose name is taken.

        Returns:
            Columns: those of ``asked``, the found id, ``rank`` (from 1), ``score``, display columns. A name
                that is taken has the prefix or ``item_`` before it. A `TwoTowerWarning` counts empty lists.
        """
        if empty := int((top.items[:, 0] < 0).sum()):
            filters = "; filters only match values of the column's type (2002, not '2002')"
            warn(
                f"{empty:,} of {count_of(len(top.items), 'list')} got no {self.what}: none is left by what "
                f"is allowed, denied, filtered and excluded as seen{filters if self.what == 'item' else ''}"
            )
        query, rank, rows, score = top.flat()
        at, at_item = pl.Series(query.astype(np.uint32)), pl.Series(rows.astype(np.uint32))
        table: dict[str, pl.Series] = {}
        for column in asked:
            table[free_name(column.name, (*PLACED, *table), prefix)] = column[at]
        table[free_name(found or self.column, (*PLACED, *table), "item_")] = self.entities.ids[at_item]
        table |= {"rank": pl.Series(rank), "score": pl.Series(score)}
        for column in self._shown:
            table[free_name(column.name, table, "item_")] = column[at_item]
        return pl.DataFrame([column.alias(name) for name, column in table.items()])

    @cached_property
    def _shown(self) -> list[pl.Series]:
        return self.display.drop(self.column).get_columns()


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
