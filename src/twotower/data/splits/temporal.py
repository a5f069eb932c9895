"""Hold out the latest rows."""

from __future__ import annotations

import numpy as np

from twotower.data.splits.row_source import RowSource
from twotower.data.splits.split import Rows
from twotower.data.splits.streamed import StreamedHoldOut


class Temporal(StreamedHoldOut):
    """Holds out the latest share of the rows that have a time; equal times stay together."""

    name = "temporal"
    summary = "the latest share of the rows that have a time; equal times stay together"
    hint = "predict the future"
    by_time = True
    share_of = "timed rows"
    rows_in_order = False

    def held(self, rows: RowSource, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows from a point in time on; nothing here is random."""
        del rng
        timed, count = np.empty(len(rows)), 0
        for (times,) in rows.blocks("time"):
            known = times[~np.isnan(times)]
            timed[count : count + len(known)] = known
            count += len(known)
        timed = timed[:count]
        held, at = np.zeros(len(rows), dtype=np.bool_), 0
        wanted = round(share * count)
        if not 0 < wanted < count:
            return held
        timed.partition(count - wanted)
        cut = timed[count - wanted]
        # Rows at the cut go to one side together: to the one that keeps the test set closest to its size.
        above, from_cut = int((timed > cut).sum()), int((timed >= cut).sum())
        take_cut = above == 0 or (from_cut < count and from_cut - wanted <= wanted - above)
        del timed
        for (times,) in rows.blocks("time"):
            held[at : at + len(times)] = (times >= cut) if take_cut else (times > cut)
            at += len(times)
        return held
