"""Other orders of a table's rows, in which the values of a column may have been written by mistake.

An order is (n,) row indexes: position p of the column belongs to row ``order[p]``. The present order is 0, 1,
2, ...
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from twotower.audit.statistics import Codes


def other_orders(ids: pl.Series, events: pl.Series) -> Iterator[tuple[str, Codes]]:
    """Yield the orders that positional mistakes lead to, each with its name.

    Args:
        ids: (n,) distinct ids of the table.
        events: ids of the training interactions, in file order.
    """
    place = pl.DataFrame({"id": ids}).with_row_index("row")
    named = {
        "ascending ids": place.sort("id"),
        "ids sorted as text": place.sort(pl.col("id").cast(pl.String)),
        "the reversed rows": place.reverse(),
    }
    met = pl.DataFrame({"id": events})
    often = met.group_by("id").len().sort("len", "id", descending=[True, False]).select("id")
    first = met.unique(maintain_order=True)
    for said, found in (("first appearance in the log", first), ("decreasing number of interactions", often)):
        known = found.join(place, on="id", how="inner", maintain_order="left").select("id", "row")
        rest = place.join(known, on="id", how="anti", maintain_order="left").select("id", "row")
        named[said] = pl.concat([known, rest])
    here = np.arange(len(ids))
    for said, rows in named.items():
        order = rows.get_column("row").cast(pl.Int64).to_numpy()
        if (order == here).all():
            continue
        yield f"the order of {said}", order
        back = np.empty_like(order)
        back[order] = here
        if (back != order).any():
            yield f"the order of {said}, backwards", back


def shifts(n: int, most: int) -> Iterator[tuple[str, Codes]]:
    """Yield the orders in which values are shifted down or up by some rows, cyclically."""
    here = np.arange(n)
    for step in range(1, min(most, n // 10) + 1):
        for signed, said in ((step, "down"), (-step, "up")):
            yield f"the rows shifted {said} by {step}", (here + signed) % n
