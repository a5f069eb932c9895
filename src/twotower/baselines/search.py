"""`climb`: which settings are best on validation, found one setting at a time and never at an open edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Setting = int | float | str | None
"""A value of a setting, as the constructors of baselines take it."""
Point = dict[str, Any]
"""A value for each setting."""

_MOST_ROUNDS = 4
"""Most passes over all settings. Each pass starts from the best point of the one before."""


@dataclass(frozen=True)
class Ladder:
    """The values of a setting that a search may try.

    Attributes:
        values: in rising order, or in any where they have none.
        start: place of the value that is tried first.
        ordered: whether neighbours in ``values`` are alike; without an order every value is tried.
        closed: whether the first value is the least that there can be, and the last the greatest.
        strides: how many values a step goes on, the coarse steps first.
    """

    values: tuple[Setting, ...]
    start: int = 0
    ordered: bool = True
    closed: tuple[bool, bool] = (False, False)
    strides: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Found:
    """The best point of a search.

    Attributes:
        point: a value for each setting.
        worth: what it is worth.
        tried: number of points that were tried.
        at_edge: settings whose best value is the first or last of a ladder that is open there.
    """

    point: Point
    worth: float
    tried: int
    at_edge: tuple[str, ...]


def climb(ladders: Mapping[str, Ladder], worth: Callable[[Point], float]) -> Found:
    """Go up each ladder in turn while the worth rises, or else down, until no setting is better changed.

    This is coordinate ascent. It finds the best point where the worth has one summit; it tries far fewer
    points than a full grid, so the ladders can be long. Of points of equal worth the first tried is kept.

    Args:
        ladders: one for each setting, in the order in which they are climbed.
        worth: of a point; it is asked once for each.
    """
    known: dict[tuple[int, ...], float] = {}
    names = list(ladders)

    def at(place: tuple[int, ...]) -> float:
        if place not in known:
            known[place] = worth(
                {name: ladders[name].values[p] for name, p in zip(names, place, strict=True)}
            )
        return known[place]

    best = tuple(ladders[name].start for name in names)
    at(best)
    for _ in range(_MOST_ROUNDS):
        before = best
        for axis, name in enumerate(names):
            best = _along(best, axis, ladders[name], at)
        if best == before:
            break
    point = {name: ladders[name].values[p] for name, p in zip(names, best, strict=True)}
    edges = tuple(name for name, p in zip(names, best, strict=True) if _open_edge(ladders[name], p))
    return Found(point, at(best), len(known), edges)


def _along(
    best: tuple[int, ...], axis: int, ladder: Ladder, at: Callable[[tuple[int, ...]], float]
) -> tuple[int, ...]:
    """Return the best place that is found along one axis."""
    if not ladder.ordered:
        others = [_moved(best, axis, place) for place in range(len(ladder.values))]
        return max([best, *others], key=at)
    for step in (sign * stride for stride in ladder.strides for sign in (1, -1)):
        while 0 <= best[axis] + step < len(ladder.values):
            further = _moved(best, axis, best[axis] + step)
            if not at(further) > at(best):
                break
            best = further
    return best


def _moved(place: tuple[int, ...], axis: int, to: int) -> tuple[int, ...]:
    return (*place[:axis], to, *place[axis + 1 :])


def _open_edge(ladder: Ladder, place: int) -> bool:
    first, last = ladder.closed
    return ladder.ordered and ((place == 0 and not first) or (place == len(ladder.values) - 1 and not last))
