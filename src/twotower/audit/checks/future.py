"""Features that leak the future: times after the event, and counts of user actions over all days."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.feature_table import FeatureTable
from twotower.audit.finding import Finding
from twotower.audit.statistics import spearman
from twotower.core.wording import count_of

DAY = 86400.0
_SLACK = 1.5 * DAY
"""Tolerance: a date is exact to a day, in some time zone."""
_LATE = 0.01
"""Share of rows before a feature's time that is more than an accident."""

_DEED = (
    "show|impression|play|view|watch|click|like|dislike|comment|share|download|collect|favou?rite|follow|"
    "report|purchase|buy|sale|order|vote|rating|review|listen|read|visit|checkin"
)
_MEASURE = "cnt|count|counts|num|number|total|sum|avg|average|mean|rate|ratio|progress|duration|score|times"
ENGAGEMENT = re.compile(
    rf"(^|_)(n|num|number|total|avg|average|mean|sum|count)_(of_)?({_DEED})s?(_|$)|"
    rf"(^|_)({_DEED})s?(_[a-z]+)*?_({_MEASURE})($|_)|^(popularity|{_DEED.replace('report|', '')})s$"
)
"""Names of columns that count or average user actions."""


def is_engagement(name: str) -> bool:
    """Return whether a column's name is that of a count or mean of user actions.

    >>> [is_engagement(name) for name in ("play_cnt", "avgRating", "num_views", "release_year", "follow")]
    [True, True, True, False, False]
    """
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return ENGAGEMENT.search(snake) is not None


class Future(Check):
    """Features with information from after the events that they should predict."""

    name = "future"
    looks_for = "features dated after the event, counts summed over all days, odd timestamps"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare times with the event times, and counts with the interactions."""
        yield from self._dates(case)
        for name in case.sides[1].quantities():
            if is_engagement(name):
                yield self._engagement(case, case.sides[1], name)
        yield from self._clock(case)

    def _dates(self, case: Case) -> Iterator[Finding]:
        if case.schema.timestamp is None:
            return
        rows = case.sample("train")
        for side in case.sides:
            for name, kind in side.features.items():
                if kind.meaning != "time":
                    continue
                given = np.append(side.numbers(name), np.nan)[rows.of(side)]
                both = np.isfinite(given) & np.isfinite(rows.time)
                late = given[both] > rows.time[both] + _SLACK
                if both.sum() < 100 or late.mean() < _LATE:
                    continue
                days = np.median((given - rows.time)[both][late]) / DAY
                yield self.error(
                    f"{case.path(side.name)}, column '{name}'",
                    "the feature's time is after the events that it should predict",
                    f"for {late.mean():.1%} of {int(both.sum()):,} training rows{rows.sampled} it is more "
                    f"than a day later, with a median of {count_of(round(days), 'day')}",
                    f"remove it from [schema.{side.name}], or use its value before the first event",
                )

    def _engagement(self, case: Case, side: FeatureTable, name: str) -> Finding:
        tally, x = case.tally(side), side.numbers(name)
        some = tally.counts() > 0
        found = {"number of interactions": spearman(x[some], tally.counts()[some])}
        if case.schema.label is not None:
            found["mean label"] = spearman(x[some], tally.means()[some])
        said, rank = max(found.items(), key=lambda pair: abs(np.nan_to_num(pair[1])))
        return self.warning(
            f"{case.path(side.name)}, column '{name}'",
            "by its name the feature counts user actions, over an unknown period",
            f"rank correlation {np.nan_to_num(rank):+.2f} with each {side.role}'s {said}; a sum over all "
            "days includes the very events to be predicted",
            f"use only days before the event, or remove it from [schema.{side.name}]",
        )

    def _clock(self, case: Case) -> Iterator[Finding]:
        timestamp = case.schema.timestamp
        if timestamp is None:
            return
        rows, where = case.sample("train"), f"[schema] timestamp, column '{timestamp}'"
        known = np.isfinite(rows.time)
        untimed, by_time = 1.0 - float(known.mean()), case.config.split.kind().by_time
        if by_time and untimed > _LATE:
            yield self.warning(
                where,
                "rows without a time can't be held out by time, so all of them are in the training set",
                f"{untimed:.1%} of the training rows{rows.sampled} have none",
                "add their times, drop them, or use another split method",
            )
        test = case.sample("test")
        later = test.time[np.isfinite(test.time)]
        if known.any() and len(later) and not by_time:
            share = float((later < np.max(rows.time[known])).mean())
            if share > 0.5:
                yield self.note(
                    where,
                    "test rows are not later than training rows",
                    f"{share:.0%} of the test rows{test.sampled} are earlier than the last training row",
                    "to measure predictions of the future, use split.method = 'temporal'",
                )
