"""What every source of candidates must do, and each one against its definition in plain Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest

from twotower.core.lists import Lists
from twotower.errors import ConfigError
from twotower.ranking.asked import Asked
from twotower.ranking.known import Known, Queried
from twotower.ranking.neighbours import Neighbours
from twotower.ranking.past import Past
from twotower.ranking.pool import Pool
from twotower.ranking.sources.registry import SOURCES
from twotower.ranking.sources.source import Source
from twotower.retrieval import Candidates

N_USERS, N_ITEMS, N, DAY = 8, 14, 90, 86_400.0
RNG = np.random.default_rng(5)
USER, ITEM = RNG.integers(0, N_USERS, N), RNG.integers(0, N_ITEMS - 1, N)  # nobody has the last item
GRADE, TIME = RNG.integers(1, 9, N) / 8, RNG.integers(0, 100, N) * DAY  # sums are exact
TIME[:4] = np.nan
AT = np.array([np.nan, 40.0, 40.0, 95.0, 1e4, np.nan, 0.0, 70.0, np.nan]) * DAY
BARRED = [RNG.choice(N_ITEMS, size, replace=False) for size in (0, 3, 5, 12, 1, 14, 2, 4, 3)]
ROWS = np.append(np.arange(N_USERS), -1)
"""The last query is someone new, who brings a history."""
BROUGHT = [*([[]] * 7), [2], [3, 5]]


def past(kept: Any = slice(None), *, timed: bool = True) -> Past:
    time = TIME[kept] if timed else None
    return Past.of(USER[kept], ITEM[kept], GRADE[kept], time, N_USERS, N_ITEMS)


def known(of: Past | None = None) -> Known:
    of = past() if of is None else of
    directions = np.random.default_rng(0).normal(size=(N_ITEMS, 4)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    empty = np.empty((N_ITEMS, 0), np.float32)
    return Known(
        *(of, directions, directions, (), (), (), (), empty[:N_USERS], empty, {}),
        *(Neighbours.together(of), Neighbours.following(of) if of.time is not None else None),
    )


def queries(of: Known, at: Any = AT, chosen: slice = slice(None)) -> Queried:
    n = len(ROWS)
    lists = Lists.from_groups(BROUGHT)
    none = np.empty((n, 0), np.float32)
    given = (lists, np.ones(len(lists.values)), np.full(len(lists.values), 30 * DAY))
    asked = Asked(ROWS, np.zeros((n, 4), np.float32), none, none, *given, at)
    return Queried(of, asked.between(*chosen.indices(n)[:2]))


def pool(chosen: slice = slice(None), **given: Any) -> Pool:
    return Pool(N_ITEMS, barred=Lists.from_groups(BARRED[chosen]), **given)


def found(source: type[Source], k: int, *, of: Known | None = None, **given: Any) -> Candidates:
    return source.find(queries(of or known()), pool(**given), k)


def same(one: Candidates, other: Candidates) -> None:
    npt.assert_array_equal(one.items, other.items)
    npt.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("source", list(SOURCES.classes()))
class TestContract:
    def test_only_what_may_be_given_best_first(self, source: type[Source]) -> None:
        allowed = np.array([0, 2, 3, 4, 7, 8, 9, 12])
        made = found(source, 6, allowed=allowed)
        assert made.items.shape == (len(ROWS), 6)
        for items, scores, barred in zip(made.items, made.scores, BARRED, strict=True):
            own = items[items >= 0]
            assert len(np.unique(own)) == len(own)
            assert set(own) <= set(allowed) - set(barred)
            assert (items[len(own) :] == -1).all()
            assert np.isneginf(scores[len(own) :]).all()
            for place in range(len(own) - 1):  # ties by lower row
                assert (-scores[place], own[place]) < (-scores[place + 1], own[place + 1])
        assert (made.items >= 0).any(axis=1).sum() >= 5
        mask = np.isin(np.arange(N_ITEMS), allowed)
        same(made, found(source, 6, allowed=mask))

    def test_alone_as_among_others_and_however_many(self, source: type[Source]) -> None:
        of = known()
        every = found(source, N_ITEMS, of=of)
        same(every.first(4), found(source, 4, of=of))
        for place in range(len(ROWS)):
            own = slice(place, place + 1)
            alone = source.find(queries(of, chosen=own), pool(own), N_ITEMS)
            same(alone, Candidates(every.items[own], every.scores[own]))
        same(every, found(source, N_ITEMS, of=of))  # nothing is left from earlier requests

    def test_nothing_at_or_after_the_query_counts(self, source: type[Source]) -> None:
        of = known()
        every = found(source, N_ITEMS, of=of)
        for place, at in enumerate(AT.tolist()):
            early = past(~(at <= TIME))  # those without a time count
            now = replace(of, past=_ends_at(early, np.fmin(at, of.past.end)))
            own = slice(place, place + 1)
            alone = source.find(queries(now, chosen=own), pool(own), N_ITEMS)
            same(alone, Candidates(every.items[own], every.scores[own]))

    def test_places_of_a_request_s_own_items(self, source: type[Source]) -> None:
        """A server has new items, and places of its own; a test set has its own catalogue."""
        rows = np.array([-1, *np.random.default_rng(1).permutation(N_ITEMS)[:-2], -1, -1])
        place = {row: at for at, row in enumerate(rows.tolist()) if row >= 0}
        barred = [[place[row] for row in own.tolist() if row in place] + [0] for own in BARRED]
        placed = Pool(N_ITEMS, rows, Lists.from_groups(barred))
        made = source.find(queries(known()), placed, 5)
        missing = np.setdiff1d(np.arange(N_ITEMS), rows)
        plain = found(source, 5, allowed=np.setdiff1d(np.arange(N_ITEMS), missing))
        npt.assert_array_equal(np.where(made.items >= 0, rows[made.items], -1), plain.items)
        npt.assert_array_equal(made.scores, plain.scores)


def _ends_at(of: Past, end: float) -> Past:
    """Return a past that knows when the whole one ended, as windows end there."""
    made = replace(of)
    made.__dict__["end"] = end
    return made


def _window(days: float) -> Callable[[Known, int], np.ndarray]:
    def score(of: Known, query: int) -> np.ndarray:
        end = min(np.nan_to_num(AT[query], nan=np.inf), np.nanmax(TIME))
        total = np.zeros(N_ITEMS)
        for item, grade, time in zip(ITEM, GRADE, TIME, strict=True):
            early = not time >= np.nan_to_num(AT[query], nan=np.inf)
            if early and (np.isinf(days) or time >= end - days * DAY):
                total[item] += grade
        return total

    return score


def _history(query: int) -> list[tuple[int, float]]:
    """Return item and grade of what a query did before, in the order of time."""
    at, user = np.nan_to_num(AT[query], nan=np.inf), ROWS[query]
    own = [(np.nan_to_num(TIME[i], nan=-np.inf), i, ITEM[i], GRADE[i]) for i in range(N) if USER[i] == user]
    own += [(30 * DAY, N + place, item, 1.0) for place, item in enumerate(BROUGHT[query])]
    return [(int(item), float(grade)) for time, _, item, grade in sorted(own) if time < at]


def _matrix(name: str, decay: float) -> Callable[[Known, int], np.ndarray]:
    def score(of: Known, query: int) -> np.ndarray:
        matrix, total = getattr(of, name), np.zeros(N_ITEMS)
        for back, (item, grade) in enumerate(reversed(_history(query))):
            own = matrix.lists.span(item)
            total[matrix.lists.values[own]] += decay**back * grade * matrix.weight[own]
        return total

    return score


def _similar(of: Known, query: int) -> np.ndarray:
    wanted = np.zeros(4)
    for back, (item, grade) in enumerate(reversed(_history(query)[-10:])):
        wanted += 0.7**back * grade * of.directions[item]
    length = np.linalg.norm(wanted)
    return of.directions @ (wanted / length) if length else np.full(N_ITEMS, -np.inf)


ORACLES: dict[str, Callable[[Known, int], np.ndarray]] = {
    "popular": _window(np.inf),
    "recent": _window(30.0),
    "neighbours": _matrix("together", 1.0),
    "next": _matrix("following", 0.9),
    "similar": _similar,
}


@pytest.fixture(scope="module")
def one_for_all() -> Known:
    """Return what all sources ask, so that none finds what another one has kept there."""
    return known()


@pytest.mark.parametrize("name", SOURCES.names())
def test_each_source_is_what_it_says(name: str, one_for_all: Known) -> None:
    of = one_for_all
    made = found(SOURCES[name], N_ITEMS, of=of)
    for query, barred in enumerate(BARRED):
        score = ORACLES[name](of, query)
        if name != "similar":  # the others have nothing to say of what counts nothing
            score = np.where(score > 0, score, -np.inf)
        score[barred] = -np.inf
        n = int(np.isfinite(score).sum())
        items = made.items[query]
        assert (items >= 0).sum() == n
        npt.assert_allclose(made.scores[query, :n], np.sort(score)[::-1][:n], rtol=1e-5, atol=1e-6)
        npt.assert_allclose(score[items[:n]], made.scores[query, :n], rtol=1e-5, atol=1e-6)


def test_without_times_the_timed_ones_find_nothing_of_them() -> None:
    of = known(past(timed=False))
    asked = queries(of, None)
    assert (SOURCES["next"].find(asked, pool(), 3).items == -1).all()
    assert (SOURCES["popular"].find(asked, pool(), 3).items[0] >= 0).all()
    assert {name for name in SOURCES if SOURCES[name].timed} == {"recent", "next"}


def test_an_unknown_source_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="populer"):
        SOURCES.get("populer")
