"""Counts, histories and sums against plain Python; a query sees nothing of its time or later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest

from twotower.core.lists import Lists
from twotower.ranking.asked import Asked
from twotower.ranking.groups.counts import WINDOWS, Counts
from twotower.ranking.groups.likeness import Likeness
from twotower.ranking.known import Batch, Known, Queried
from twotower.ranking.neighbours import DECAY, GAP, SHRINK, Neighbours
from twotower.ranking.past import Past
from twotower.retrieval import Candidates

N_USERS, N_ITEMS, N = 7, 9, 120
DAY = 86_400.0
RNG = np.random.default_rng(3)
USER, ITEM = RNG.integers(0, N_USERS, N), RNG.integers(0, N_ITEMS, N)
GRADE, TIME = RNG.random(N).round(3), (RNG.integers(0, 60, N) * DAY / 2).astype(float)
TIME[:5] = np.nan


def past(kept: Any = slice(None), timed: bool = True) -> Past:
    time = TIME[kept] if timed else None
    return Past.of(USER[kept], ITEM[kept], GRADE[kept], time, N_USERS, N_ITEMS)


def known(of: Past) -> Known:
    directions = np.random.default_rng(0).normal(size=(N_ITEMS, 4)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    genre = Lists.from_groups([[2 + i % 3, 5] if i else [] for i in range(N_ITEMS)])
    empty = np.empty((N_ITEMS, 0), np.float32)
    return Known(
        *(of, directions, directions, (), (), (), ()),
        *(empty[:N_USERS], empty, {"genre": (genre, 6)}),
        *(Neighbours.together(of), Neighbours.following(of) if of.time is not None else None),
    )


def batch(of: Known, at: list[float] | None = None, brought: Any = None, times: Any = None) -> Batch:
    n = N_USERS + 1
    rows = np.append(np.arange(N_USERS), -1)
    lists = Lists.from_groups([[] for _ in range(n)] if brought is None else brought)
    asked = Asked(
        rows,
        np.zeros((n, 4), np.float32),
        *(np.empty((n, 0), np.float32),) * 2,
        lists,
        np.ones(len(lists.values)),
        times,
        None if at is None else np.array(at),
    )
    items = np.tile(np.arange(N_ITEMS, dtype=np.int32), (n, 1))
    return Batch.of(Queried(of, asked), Candidates(items, -items.astype(np.float32)))


def made(group: Any, of: Batch) -> dict[str, Any]:
    names = [one.name for one in group.features(of.known)]
    out = np.empty((len(of.item), len(names)), np.float32)
    group.fill(of, out)
    assert not np.isinf(out).any()
    return dict(zip(names, out.reshape(N_USERS + 1, N_ITEMS, -1).transpose(2, 0, 1), strict=True))


def before(at: float, user: int | None = None, item: int | None = None) -> Any:
    which = ~(at <= TIME)
    which &= True if user is None else user == USER
    return which if item is None else which & (item == ITEM)


def test_counts_are_of_what_was_strictly_before() -> None:
    of = known(past())
    at = np.append(RNG.integers(5, 60, N_USERS) * DAY / 2, np.nan)
    found, scale = made(Counts, batch(of, at.tolist())), N / N_ITEMS
    end = np.nanmax(TIME)
    for q, time in enumerate(np.where(np.isnan(at), np.inf, at)):
        now = min(time, end)
        own = before(time, user=q)
        assert found["user_count"][q, 0] == own.sum()
        if own.any():
            npt.assert_allclose(found["user_mean_grade"][q, 0], GRADE[own].mean(), rtol=1e-5)
        if np.isfinite(TIME[own]).any():
            npt.assert_allclose(found["user_since_last"][q, 0], now - np.nanmax(TIME[own]))
        for item in range(N_ITEMS):
            which = before(time, item=item)
            npt.assert_allclose(found["item_count"][q, item], which.sum() / scale, rtol=1e-6)
            if which.any():
                npt.assert_allclose(found["item_mean_grade"][q, item], GRADE[which].mean(), rtol=1e-5)
            for days in WINDOWS:
                recent = which & (now - days * DAY <= TIME)
                npt.assert_allclose(found[f"item_count_{days:g}d"][q, item], recent.sum() / scale, rtol=1e-6)
            timed = TIME[which & np.isfinite(TIME)]
            if len(timed):
                npt.assert_allclose(found["item_since_last"][q, item], now - timed.max())
            if which.any() and not np.isnan(TIME[which]).any():
                npt.assert_allclose(found["item_age"][q, item], now - timed.min())


def test_what_is_later_changes_nothing() -> None:
    """Other events at the time of the query and after it, in the training set and in what queries bring."""
    whole, time, n = known(past()), 14 * DAY, N_USERS + 1
    late = ~before(time)
    user, item, grade = (np.where(late, other, of) for of, other in ((USER, 0), (ITEM, 1), (GRADE, 0.5)))
    changed = replace(whole, past=Past.of(user, item, grade, TIME, N_USERS, N_ITEMS))
    for group in (Counts, Likeness):
        times = np.tile([DAY, time, time + 1], n)
        one = made(group, batch(whole, [time] * n, [[1, 2, 3]] * n, times))
        other = made(group, batch(changed, [time] * n, [[1, 5, 6]] * n, times))
        for name, values in one.items():
            npt.assert_array_equal(values, other[name], err_msg=name)
        after = made(group, batch(changed, [time + DAY] * n, [[1, 5, 6]] * n, times))
        assert any(not np.array_equal(after[name], values, equal_nan=True) for name, values in one.items())


def test_items_that_go_together_and_that_follow() -> None:
    of = past()
    grades = np.zeros((N_USERS, N_ITEMS))
    np.add.at(grades, (USER, ITEM), GRADE)
    norm = np.linalg.norm(grades, axis=0)
    together = grades.T @ grades / (np.outer(norm, norm) + SHRINK)
    np.fill_diagonal(together, 0)
    follows = np.zeros((N_ITEMS, N_ITEMS))
    for user in range(N_USERS):
        own, grade = of.lists[user], of.grade[of.lists.span(user)]
        for p in range(len(own)):
            for step in range(1, min(GAP, len(own) - 1 - p) + 1):
                follows[own[p], own[p + step]] += DECAY ** (step - 1) * grade[p] * grade[p + step]
    count = np.sqrt(np.bincount(ITEM, minlength=N_ITEMS))
    follows /= np.outer(count, count) + SHRINK
    np.fill_diagonal(follows, 0)
    found = made(Likeness, batch(known(of)))
    for q in range(N_USERS):
        own, grade = of.lists[q], of.grade[of.lists.span(q)]
        npt.assert_allclose(found["together_score"][q], grade @ together[own], rtol=1e-4)
        decay = 0.9 ** np.arange(len(own))[::-1]
        npt.assert_allclose(found["following_score"][q], (decay * grade) @ follows[own], rtol=1e-4)
        best = found["together_score"][q].max()
        npt.assert_allclose(found["together_gap"][q], best - found["together_score"][q], atol=1e-6)
        order = np.argsort(-found["together_score"][q], kind="stable")
        npt.assert_array_equal(np.argsort(found["together_rank"][q], kind="stable"), order)
        scores = found["together_score"][q].astype(float)
        npt.assert_allclose(
            found["together_scaled"][q], (scores - scores.mean()) / scores.std(), rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("timed", [True, False])
def test_likeness_to_the_last_items(timed: bool) -> None:
    of = known(past(timed=timed))
    found = made(Likeness, batch(of, brought=[[]] * N_USERS + [[4, 2]]))
    for q in [*range(N_USERS), N_USERS]:
        own = of.past.lists[q] if q < N_USERS else np.array([4, 2])
        grade = of.past.grade[of.past.lists.span(q)] if q < N_USERS else np.ones(2)
        cosine = of.directions @ of.directions[own[-10:]].T
        npt.assert_allclose(found["cosine_last"][q], cosine[:, -1], rtol=1e-4, atol=1e-6)
        npt.assert_allclose(found["cosine_best"][q], cosine.max(axis=1), rtol=1e-4, atol=1e-6)
        mean = cosine @ grade[-10:] / grade[-10:].sum()
        npt.assert_allclose(found["cosine_mean"][q], mean, rtol=1e-3, atol=1e-5)
        values = of.values["genre"][0]
        for item in range(N_ITEMS):
            shares, grades = [], []
            for code in values[item]:
                has = np.array([code in values[other] for other in own])
                shares.append(has.mean())
                grades += [grade[has].mean()] if has.any() else []
            if not item:
                assert np.isnan(found["genre_share"][q, item])
                continue
            npt.assert_allclose(found["genre_share"][q, item], np.mean(shares), rtol=1e-5)
            npt.assert_allclose(found["genre_mean_grade"][q, item], np.mean(grades), rtol=1e-5)
