"""Problems of the lists: the same for everyone, or with too popular or too rare items."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.finding import Finding
from twotower.config.parts import first_that
from twotower.core.wording import count_of
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe
from twotower.report.lists import BANDS
from twotower.report.people import called

_ALIKE = 0.6
"""Lists that share more than this on average are nearly the same."""
_EVERYWHERE = 0.5
_TILT = 0.25
_FEW_USERS, _FEW_ITEMS = 20, 50
"""With fewer users or items, lists are similar by chance, and not checked."""


class SameLists(Probe):
    """One list for everyone: the model has learned about items, but not about users."""

    name = "same-lists"
    looks_for = "lists that are the same for everyone"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the lists of pairs of users, and the variance of the scores."""
        lists, personal = case.lists, case.personal
        if lists is None or len(lists.users) < _FEW_USERS or len(lists.items) < max(_FEW_ITEMS, 4 * lists.k):
            return
        row, share = lists.top
        taken_apart = (
            f"{personal.both:.1%} of the variance of the scores is personal (user and item together), "
            f"{personal.item:.1%} is between items"
        )
        if lists.overlap > _ALIKE:
            yield self.warning(
                f"lists of {lists.k}",
                "nearly all users get the same list",
                f"two users share {lists.overlap:.0%} of their lists on average, over "
                f"{count_of(len(lists.users), 'user')}; {taken_apart}",
                "to recommend, train an objective that ranks (objective.name = "
                f"'{first_that(predicts=False)}')"
                if not case.ranks
                else f"lower {case.held_back_by}, train longer, or add features of the users",
            )
        elif share > _EVERYWHERE:
            yield self.note(
                f"lists of {lists.k}",
                "one item is in most lists",
                f"{called(case.recommender, lists.items[row])} is in {share:.0%} of "
                f"{count_of(len(lists.users), 'list')}",
                "check whether that is right; if not, leave the item out (--deny) or train a ranking "
                "objective",
            )


class PopularityTilt(Probe):
    """Lists with more popular, or more rare, items than people like."""

    name = "popularity-tilt"
    looks_for = "lists with more popular or more rare items than people like"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare recommended and liked items by popularity."""
        lists = case.lists
        if lists is None or len(lists.users) < _FEW_USERS or len(lists.items) < max(_FEW_ITEMS, 4 * lists.k):
            return
        _, liked, given = lists.by_band
        top, rare = BANDS - 1, slice(0, BANDS // 2)
        if given[top] - liked[top] > _TILT:
            yield self.note(
                f"lists of {lists.k}",
                "lists favour the most popular items",
                f"the most popular tenth of the items is {given[top]:.0%} of the recommendations, and "
                f"{liked[top]:.0%} of the liked items of the test set",
                "if variety matters, compare with the baseline 'popularity', and look at coverage",
            )
        if given[rare].sum() - liked[rare].sum() > _TILT / 2:
            yield self.warning(
                f"lists of {lists.k}",
                "lists favour items with hardly any interactions",
                f"the rarer half of the items is {given[rare].sum():.0%} of the recommendations, "
                f"and {liked[rare].sum():.0%} of the liked items of the test set",
                "scores of rare items are uncertain, and the overestimated ones come first: "
                + ("" if case.ranks else "train a ranking objective, or ")
                + f"raise {case.held_back_by}",
            )
