"""Hold out each user's last row."""

from __future__ import annotations

import numpy as np

from twotower.data.dataset import Dataset
from twotower.data.splits.drawing import users_of
from twotower.data.splits.split import HoldOut, Rows


class LeaveLast(HoldOut):
    """Holds out each user's last row by time (the later row of two at one time); users with one row stay in
    training."""

    name = "leave_last"
    summary = (
        "each user's last row by time (the later row of two at one time); users with one row stay in "
        "training. The share is not used."
    )
    by_time = True
    warm = "users"
    share_of = "nothing"
    rows_in_order = False

    def hold_out(self, data: Dataset, share: float, rng: np.random.Generator) -> Rows:
        """Choose one row of each user; nothing here is random."""
        del share, rng
        codes, times = users_of(data), data.times()
        sizes = np.bincount(codes)  # (n_users,)
        timed = np.flatnonzero(~np.isnan(times) & (sizes[codes] > 1))
        latest = np.full(len(sizes), -np.inf)
        np.maximum.at(latest, codes[timed], times[timed])
        ties = timed[times[timed] == latest[codes[timed]]]
        last = np.full(len(sizes), -1, dtype=np.int64)
        np.maximum.at(last, codes[ties], ties)
        held = np.zeros(len(codes), dtype=np.bool_)
        held[last[last >= 0]] = True
        return held
