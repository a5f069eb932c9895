"""Other orders of a table's rows, in which the values of a column may have been written by mistake.

An order is (n,) row indexes: position p of the column belongs to row ``order[p]``. The present order is 0, 1,
2, ...
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from twotower.audit.statistics import Codes
from twotower.core.vocabulary import Vocabulary


def other_orders(ids: pl.Series, events: pl.Series) -> Iterator[tuple[str, Codes]]:
    """Yield the orders that positional mistakes lead to, each with its name.

    Args:
        ids: (n,) distinct ids of the table.
        events: ids of the training interactions, in file order.
    """
    here = np.arange(len(ids))
    named: dict[str, Codes] = {
        "ascending ids": ids.arg_sort().cast(pl.Int64).to_numpy(),
        "ids sorted as text": ids.cast(pl.String).arg_sort().cast(pl.Int64).to_numpy(),
        "the reversed rows": here[::-1],
    }
    often = pl.DataFrame({"id": events}).group_by("id").len().sort("len", "id", descending=[True, False])
    first = events.unique(maintain_order=True)
    for said, found in (
        ("first appearance in the log", first),
        ("decreasing number of interactions", often.get_column("id")),
    ):
        known = Vocabulary(ids).rows(found)
        known = known[known >= 0]
        named[said] = np.append(known, np.delete(here, known))
    for said, order in named.items():
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
