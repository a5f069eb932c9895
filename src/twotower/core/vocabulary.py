"""`Vocabulary`: ids to rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.id_text import as_known
from twotower.core.reprs import ShortRepr

_WHOLE: Final = re.compile(r"(?:0|-?[1-9][0-9]{0,18})\Z")
_FEW: Final = 64
"""Ids that are looked up one at a time, in a fraction of the time of a join."""
_INDEXED: Final = 200_000
"""Ids for which the index of single ids is made on first use: in some ten milliseconds."""
SHARE: Final = 100
"""Up to one in this many of sorted ids are searched for; more are joined."""
T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False, repr=False)
class Vocabulary(ShortRepr):
    """Distinct ids, each with its row; frozen, so that rows stay what they are.

    Ids of another type are found as `as_known` says: the text "7" and the number 7.0 are the id 7, and the
    number 7 is the id "7"; "007" is not 7.

    Attributes:
        ids: (n,) whole numbers or text, without nulls and without duplicates, in the order of their rows.

    >>> known = Vocabulary.distinct(pl.Series([14, 7, 14]))
    >>> known.ids.to_list(), known.rows(pl.Series(["14", "07", None])).tolist(), known.row("14")
    ([7, 14], [1, -1, -1], 1)
    """

    ids: pl.Series
    lasting: ClassVar[bool] = False
    """Whether a few are looked up again and again, so that an index of all pays."""

    @classmethod
    def distinct(cls, column: pl.Series) -> Vocabulary:
        """Return the distinct ids of a column, ascending."""
        return cls(column.unique().drop_nulls().sort())

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: pl.Series) -> NDArray[np.int64]:
        """Return the row of each of m ids, int64 (m,); -1 for an unknown one."""
        asked = as_known(ids.alias("id"), self.ids.dtype)
        if len(asked) <= _FEW and ("index" in self.__dict__ or (self.lasting and len(self) <= _INDEXED)):
            return np.array([self.index.get(one, -1) for one in asked.to_list()], dtype=np.int64)
        known = self.ids.alias("id").to_frame().with_row_index("row")
        if 4 * len(asked) >= len(self):
            found = asked.to_frame().join(known, on="id", how="left", maintain_order="left").get_column("row")
            return found.cast(pl.Int64).fill_null(-1).to_numpy(writable=True)
        rows = np.full(len(asked), -1, dtype=np.int64)
        if len(asked) * SHARE < len(self) and self.ids.is_sorted():  # 10 of 10 million: 0.1 ms, not 90
            place = np.minimum(self.ids.search_sorted(asked).to_numpy(), len(self) - 1)
            same = (self.ids.gather(place) == asked).fill_null(value=False).to_numpy()
            rows[same] = place[same]
        else:  # an inner join hashes the fewer ids, a left join all that are known
            pairs = asked.to_frame().with_row_index("place").join(known, on="id")
            rows[pairs.get_column("place").to_numpy()] = pairs.get_column("row").to_numpy()
        return rows

    def take(self, values: NDArray[T], ids: pl.Series, unknown: Any) -> NDArray[T]:
        """Return the value of each of m ids, (m,), from the values (n,) of all rows; else ``unknown``."""
        return np.append(values, np.array(unknown, dtype=values.dtype))[self.rows(ids)]

    @cached_property
    def known(self) -> list[Any]:
        """The ids as plain values; made on first use, as `index` is."""
        return self.ids.to_list()

    @cached_property
    def index(self) -> dict[Any, int]:
        """The row of each id, to look up one at a time."""
        return {name: row for row, name in enumerate(self.known)}

    @cached_property
    def whole(self) -> bool:
        """Whether the ids are whole numbers."""
        return self.ids.dtype.is_integer()

    def native(self, given: Any) -> Any:
        """Return one id in the type of these: "14" is 14 where they are numbers, and the other way round.

        >>> Vocabulary(pl.Series([14])).native("14"), Vocabulary(pl.Series(["a"])).native(14)
        (14, '14')
        >>> [Vocabulary(pl.Series([0])).native(given) for given in ("0", "-0", "007", "-7")]
        [0, '-0', '007', -7]
        """
        if type(given) is (int if self.whole else str):
            return given
        if isinstance(given, bool):  # true is not 1
            given = str(given).lower()
        elif isinstance(given, float) and given.is_integer():
            given = int(given)
        if self.whole:
            return int(given) if isinstance(given, str) and _WHOLE.match(given) else given
        return str(given)

    def row(self, given: Any) -> int | None:
        """Return the row of one id, None for an unknown one."""
        return self.index.get(self.native(given))


def rows_of_ids(table: pl.DataFrame, column: str, ids: pl.Series) -> pl.DataFrame:
    """Return a table's row of each of m ids, in their order; nulls where it has none.

    Args:
        table: with distinct ids in ``column``.
        column: the id column; the result has ``ids`` in it.
        ids: any m ids of one type.
    """
    rows = pl.Series(Vocabulary(table.get_column(column)).rows(ids))
    rows = rows.set(rows < 0, None)
    return pl.DataFrame([ids.alias(column), *(other.gather(rows) for other in table.drop(column))])
