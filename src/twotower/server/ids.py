"""Ids as they come in JSON, in paths and from the store, and the rows they stand for."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import polars as pl

from twotower.server.errors import ApiError, shown

Id = int | str
_WHOLE = re.compile(r"(?:0|-?[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, eq=False)
class Ids:
    """The ids of one side of a model.

    Attributes:
        what: "user" or "item".
        known: the ids, one a row, integers or strings.
        whole: whether they are integers.
        rows: the row of each id.
    """

    what: str
    known: list[Any]
    whole: bool
    rows: dict[Any, int]

    @classmethod
    def of(cls, what: str, ids: pl.Series) -> Ids:
        """Build from a model's id column."""
        known = ids.to_list()
        return cls(what, known, ids.dtype.is_integer(), {name: row for row, name in enumerate(known)})

    def native(self, given: Id) -> Id:
        """Return an id as the model writes it: "14" is 14 where ids are integers, and the other way round.

        >>> Ids.of("user", pl.Series([14])).native("14"), Ids.of("user", pl.Series(["a"])).native(14)
        (14, '14')
        >>> [Ids.of("user", pl.Series([0])).native(given) for given in ("0", "-0", "007", "-7")]
        [0, '-0', '007', -7]
        """
        if self.whole:
            return int(given) if isinstance(given, str) and _WHOLE.match(given) else given
        return str(given)

    def row(self, given: Id) -> int | None:
        """Return the row of an id, None for one that the model does not know."""
        return self.rows.get(self.native(given))

    def new(self, given: Id, longest: int, where: str | None = None) -> Id:
        """Return an id that the model need not know as it writes it, or refuse one that can't be one.

        Raises:
            ApiError: it is empty, too long, or holds control characters.
        """
        name = self.native(given)
        if name in self.rows:
            return name
        text, at = str(name), f"{where}: " if where else ""
        if not 1 <= len(text) <= longest:
            raise ApiError(
                422, f"{at}a new {self.what}'s id must have 1 to {longest} characters, got {len(text)}", where
            )
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            raise ApiError(
                422, f"{at}a new {self.what}'s id must hold no control characters, got {shown(text)}", where
            )
        return name
