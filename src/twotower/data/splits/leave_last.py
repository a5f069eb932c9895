"""Hold out each user's last row."""

from __future__ import annotations

import numpy as np

from twotower.data.splits.row_source import RowSource
from twotower.data.splits.split import Rows
from twotower.data.splits.streamed import StreamedHoldOut


class LeaveLast(StreamedHoldOut):
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

    def held(self, rows: RowSource, share: float, rng: np.random.Generator) -> Rows:
        """Choose one row of each user; nothing here is random."""
        del share, rng
        sizes = rows.sizes("user")  # (n_users,)
        latest = np.full(len(sizes), -np.inf)
        for codes, times in rows.blocks("user", "time"):
            timed = ~np.isnan(times) & (sizes[codes] > 1)
            np.maximum.at(latest, codes[timed], times[timed])
        last, at = np.full(len(sizes), -1, dtype=np.int64), 0
        for codes, times in rows.blocks("user", "time"):
            ties = np.flatnonzero((sizes[codes] > 1) & (times == latest[codes]))
            np.maximum.at(last, codes[ties], at + ties)
            at += len(codes)
        held = np.zeros(len(rows), dtype=np.bool_)
        held[last[last >= 0]] = True
        return held
