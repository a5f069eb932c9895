"""Ailments of the lists: the same for everyone, more popular or rarer than what people like."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from twotower.data.audit.finding import Finding
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.lists import BANDS

_ALIKE = 0.6
"""Lists that share more than this with one another are nearly one list."""
_EVERYWHERE = 0.5
_TILT = 0.25
_FEW_USERS, _FEW_ITEMS = 20, 50
"""Of fewer users or items nothing is said: lists are then alike by chance."""


class SameLists(Probe):
    """One list for everyone: what a model that knows items but not users gives."""

    name: ClassVar[str] = "same-lists"
    looks_for: ClassVar[str] = "lists that are the same for everyone"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the lists of pairs of users, and the scores' variance."""
        lists, personal = case.lists, case.personal
        if lists is None or len(lists.users) < _FEW_USERS or len(lists.items) < max(_FEW_ITEMS, 4 * lists.k):
            return
        row, share = lists.top
        taken_apart = (
            f"{personal.both:.1%} of the variance of the scores is a matter of user and item together, "
            f"{personal.item:.1%} is between items"
        )
        if lists.overlap > _ALIKE:
            yield self.warning(
                f"lists of {lists.k}",
                "nearly everyone is given the same list",
                f"two users share {lists.overlap:.0%} of their lists on average, over {len(lists.users):,} "
                f"users; {taken_apart}",
                "to recommend, train an objective that ranks (objective.name = 'all_pairs')"
                if not case.ranks
                else "lower objective.regularisation, train longer, or give features of the users",
            )
        elif share > _EVERYWHERE:
            yield self.note(
                f"lists of {lists.k}",
                "one item is in most lists",
                f"item {lists.items[row]} is in {share:.0%} of the {len(lists.users):,} lists",
                "see whether it deserves it; a denied list (--deny) or a ranking objective mends it",
            )


class PopularityTilt(Probe):
    """Lists that lean to popular, or to hardly known, items more than people do."""

    name: ClassVar[str] = "popularity-tilt"
    looks_for: ClassVar[str] = "lists that lean to popular or to rare items more than people do"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare what is given with what was liked, by popularity."""
        lists = case.lists
        if lists is None or len(lists.users) < _FEW_USERS or len(lists.items) < max(_FEW_ITEMS, 4 * lists.k):
            return
        _, liked, given = lists.by_band
        top, rare = BANDS - 1, slice(0, BANDS // 2)
        if given[top] - liked[top] > _TILT:
            yield self.note(
                f"lists of {lists.k}",
                "lists lean to the most popular items",
                f"the most popular tenth of the items is {given[top]:.0%} of what is given, and "
                f"{liked[top]:.0%} of what people liked in the test part",
                "mind it where variety counts; compare with the baseline 'popularity', and look at coverage",
            )
        if given[rare].sum() - liked[rare].sum() > _TILT / 2:
            yield self.warning(
                f"lists of {lists.k}",
                "lists lean to items that hardly anyone has met",
                f"the rarer half of the items is {given[rare].sum():.0%} of what is given, and "
                f"{liked[rare].sum():.0%} of what people liked in the test part",
                "scores of rare items are uncertain, and the luckiest of them come first: train an objective "
                "that ranks, or raise objective.regularisation",
            )
