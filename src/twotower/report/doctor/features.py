"""Problems of the features: columns that the model does not use."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.finding import Finding
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.importance import columns_of

_UNMOVED = 0.002
_NAMED = 8


class UnreadFeatures(Probe):
    """Columns that can be shuffled without changing a vector: constant, or without weight."""

    name = "unread-features"
    looks_for = "features that the model does not use"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look at how far vectors move when a column is shuffled."""
        for which in ("users", "items"):
            columns = list(columns_of(case.importance, which))
            unread = [worth for worth in columns if worth.moved < _UNMOVED]
            if not unread:
                continue
            names = ", ".join(worth.column for worth in unread[:_NAMED])
            more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
            most = max(worth.moved for worth in unread)
            every = len(unread) == len(columns)
            finding = self.warning if every and len(columns) > 1 else self.note
            yield finding(
                f"features of the {which}",
                f"the model uses no feature of the {which}"
                if every
                else f"{len(unread)} of {len(columns)} features of the {which} "
                + ("changes nothing" if len(unread) == 1 else "change nothing"),
                f"{names}{more}: with the values shuffled among the {which}, vectors move by at most "
                f"{most:.2%} of their spread",
                "remove {} from the schema, or check whether {} constant or empty (`twotower check`)".format(
                    *(("it", "it is") if len(unread) == 1 else ("them", "they are"))
                ),
            )
