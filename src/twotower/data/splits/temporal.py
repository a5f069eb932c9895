"""Hold out the latest rows."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.split import HoldOut, Rows


class Temporal(HoldOut):
    """Holds out the latest share of the rows that have a time; equal times stay together."""

    name = "temporal"
    summary = "the latest share of the rows that have a time; equal times stay together"
    hint = "predict the future"
    by_time = True
    share_of = "timed rows"
    rows_in_order = False

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose the rows from a point in time on; nothing here is random."""
        del rng
        times = data.times()
        timed = times[~np.isnan(times)]
        wanted = round(share * len(timed))
        if not 0 < wanted < len(timed):
            return np.zeros(len(times), dtype=np.bool_)
        cut = np.partition(timed, len(timed) - wanted)[len(timed) - wanted]
        # Rows at the cut go to one side together: to the one that keeps the test set closest to its size.
        above, from_cut = int((timed > cut).sum()), int((timed >= cut).sum())
        take_cut = above == 0 or (from_cut < len(timed) and from_cut - wanted <= wanted - above)
        held: Rows = (times >= cut) if take_cut else (times > cut)
        return held
