"""`ListRules`: the last stage, which chooses items one by one so that lists keep rules of diversity.

Maximal marginal relevance (Carbonell & Goldstein, 1998) takes the item with the highest

    relevance * score - (1 - relevance) * highest cosine to an item already chosen

where scores go from 0 to 1 among the candidates of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from twotower.config.diversity import DiversityConfig
from twotower.core.lists import Lists
from twotower.core.reprs import ShortRepr
from twotower.core.wording import count_of
from twotower.ranking.asked import Asked
from twotower.ranking.known import Rows
from twotower.ranking.pool import Pool
from twotower.ranking.stage import Stage
from twotower.retrieval import Candidates


class Facts(NamedTuple):
    """What rules need to know of n items.

    Attributes:
        values: the values of each in the column; an item without any is never one too many.
        new: bool (n,).
        directions: float32 (n, width), of length 1 or 0.
    """

    values: Sequence[Sequence[Hashable]]
    new: NDArray[np.bool_]
    directions: NDArray[np.float32]


class GivenUp(NamedTuple):
    """Which rules could not be kept for want of candidates, each bool (n,) by list."""

    at_most: NDArray[np.bool_]
    new_share: NDArray[np.bool_]

    def of(self, place: int) -> list[str]:
        """Return the names of the rules that one list does not keep."""
        return [name for name in self._fields if getattr(self, name)[place]]

    def says(self, settings: DiversityConfig) -> str:
        """Return what was given up in how many lists; empty if nothing was."""
        n = len(self.at_most)
        said = []
        if self.at_most.any():
            said.append(
                f"{_have(self.at_most)} more than {count_of(settings.at_most or 0, 'item')} of a value of "
                f"{settings.column!r}"
            )
        if self.new_share.any():
            said.append(f"{_have(self.new_share)} a smaller share of new items than {settings.new_share:g}")
        if not said:
            return ""
        return (
            f"of {count_of(n, 'list')} {' and '.join(said)}, as there were too few other candidates; raise "
            "diversity.candidates, or loosen the rule"
        )


def _have(which: NDArray[np.bool_]) -> str:
    n = int(which.sum())
    return f"{n:,} {'has' if n == 1 else 'have'}"


@dataclass(frozen=True, eq=False, repr=False)
class ListRules(Stage, ShortRepr):
    """Chooses the items of lists by rules.

    The first items of a longer list are those of a shorter one.

    Attributes:
        settings: the rules.
        facts: returns what is known of items, by the rows that candidates name.
        k: length of lists.
        given_up: gets what could not be kept, once a call.
    """

    settings: DiversityConfig
    facts: Callable[[Rows], Facts]
    k: int
    given_up: list[GivenUp]

    def candidates(self, k: int) -> int:
        """Return how many candidates it needs."""
        return max(k, self.settings.candidates)

    def apply(self, asked: Asked, found: Candidates, pool: Pool) -> Candidates:
        """Return lists of length k; scores are those of the items."""
        del asked, pool
        settings, n = self.settings, len(found.items)
        distinct, place = np.unique(found.items, return_inverse=True)
        padding = int(len(distinct) > 0 and distinct[0] < 0)
        place = place.reshape(found.items.shape).astype(np.int64) - padding
        facts = self.facts(distinct[padding:].astype(np.int64))
        codes: dict[Hashable, int] = {}
        coded = [[codes.setdefault(one, len(codes)) for one in set(values)] for values in facts.values]
        lists = Lists.from_groups(coded) if coded else Lists.empty(0)
        chosen = np.full((n, self.k), -1, np.int64)
        lost = np.zeros((n, 2), np.bool_)
        _choose(
            place,
            found.scores.astype(np.float64),
            lists.indptr,
            lists.values,
            np.zeros(max(len(codes), 1), np.int64),
            facts.new,
            np.ascontiguousarray(facts.directions, np.float32),
            settings.at_most or 0,
            settings.new_share,
            settings.relevance,
            chosen,
            lost,
        )
        self.given_up.append(GivenUp(lost[:, 0], lost[:, 1]))
        inside = np.maximum(chosen, 0)
        items = np.where(chosen >= 0, np.take_along_axis(found.items, inside, axis=1), -1)
        scores = np.where(chosen >= 0, np.take_along_axis(found.scores, inside, axis=1), -np.inf)
        return Candidates(items.astype(np.int32), scores.astype(np.float32))


@njit(cache=True, nogil=True)
def _is_full(row, indptr, codes, count, at_most):  # type: ignore[no-untyped-def]  # pragma: no cover
    full = False
    for v in range(indptr[row], indptr[row + 1]):
        full |= count[codes[v]] >= at_most
    return full


@njit(cache=True, nogil=True)
def _best(  # type: ignore[no-untyped-def]  # pragma: no cover
    place, worth, free, new, only_new, indptr, codes, count, at_most
):
    """Return the free candidate of highest worth that is new and not one too many; -1 if there is none."""
    best, value = -1, -np.inf
    for j in range(len(worth)):
        if not free[j] or worth[j] <= value or (only_new and not new[place[j]]):
            continue
        if at_most > 0 and _is_full(place[j], indptr, codes, count, at_most):
            continue
        best, value = j, worth[j]
    return best


@njit(cache=True, nogil=True)
def _liken(D, place, row, free, like):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Raise the likeness of the free candidates to what is chosen, now that a row is."""
    for j in range(len(like)):
        if free[j]:
            cosine = 0.0
            for d in range(D.shape[1]):
                cosine += D[row, d] * D[place[j], d]
            like[j] = max(like[j], cosine)


@njit(cache=True, nogil=True)
def _scaled(score):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return scores from 0 to 1; 1 if all are the same."""
    low, high = np.min(score), np.max(score)
    return (score - low) / (high - low) if high > low else np.ones(len(score))


@njit(cache=True, nogil=True)
def _choose(  # type: ignore[no-untyped-def]  # pragma: no cover
    place, score, indptr, codes, count, new, D, at_most, share, relevance, chosen, lost
):
    """Write the places of the chosen candidates of each query, and what was given up: at_most, new_share.

    Args:
        place: (n, c) rows of facts, -1 for padding.
        score: (n, c).
        indptr, codes: values of each row.
        count: (n_codes,) zeros.
        new, D: of each row.
        at_most: 0 for no such rule.
        share, relevance: as in the config.
        chosen: (n, k), filled with -1.
        lost: (n, 2), filled with false.
    """
    for q in range(len(place)):
        c = 0
        while c < place.shape[1] and place[q, c] >= 0:
            c += 1
        if not c:
            continue
        own, worth = place[q, :c], _scaled(score[q, :c])
        free, like, n_new = np.ones(c, np.bool_), np.full(c, -1.0), 0
        count[:] = 0
        for p in range(min(c, chosen.shape[1])):
            value = relevance * worth - (1.0 - relevance) * like
            wants = np.floor(share * (p + 1) + 1e-9) > n_new
            best = _best(own, value, free, new, wants, indptr, codes, count, at_most)
            if best < 0 and wants:
                best = _best(own, value, free, new, False, indptr, codes, count, at_most)
            if best < 0:
                best = _best(own, value, free, new, False, indptr, codes, count, 0)
                lost[q, 0] = True
            row = own[best]
            lost[q, 1] |= wants and not new[row]
            chosen[q, p], free[best] = best, False
            n_new += new[row]
            for v in range(indptr[row], indptr[row + 1]):
                count[codes[v]] += 1
            if relevance < 1.0:
                _liken(D, own, row, free, like)
