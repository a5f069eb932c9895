"""`climb`: tune settings on a validation score, one setting at a time (coordinate ascent)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Setting = int | float | str | None
"""A value of a setting, as passed to the constructor of a baseline."""
Point = dict[str, Any]
"""A value for each setting."""

_MOST_ROUNDS = 4
"""Maximum passes over all settings. Each pass starts from the best point of the previous one."""


@dataclass(frozen=True)
class Ladder:
    """The values of a setting that tuning may try.

    Attributes:
        values: in increasing order, if they have an order.
        start: position of the value to try first.
        ordered: whether neighbours in ``values`` are similar; if not, every value is tried.
        closed: whether the first and last value are the smallest and largest possible.
        strides: step sizes in positions, coarse steps first.
    """

    values: tuple[Setting, ...]
    start: int = 0
    ordered: bool = True
    closed: tuple[bool, bool] = (False, False)
    strides: tuple[int, ...] = (1,)

    def up_to(self, most: float) -> Ladder:
        """Return the values up to the first that is ``most`` or above; if values are cut, it is closed there.

        >>> Ladder((16, 32, 64, 128)).up_to(50)
        Ladder(values=(16, 32, 64), start=0, ordered=True, closed=(False, True), strides=(1,))
        """
        below = sum(isinstance(value, int | float) and value < most for value in self.values)
        kept = self.values[: below + 1]
        if len(kept) == len(self.values):
            return self
        return replace(self, values=kept, start=min(self.start, len(kept) - 1), closed=(self.closed[0], True))


@dataclass(frozen=True)
class Found:
    """The best point of a search.

    Attributes:
        point: a value for each setting.
        worth: its score.
        tried: number of points that were tried.
        at_edge: settings whose best value is the first or last of an open range.
    """

    point: Point
    worth: float
    tried: int
    at_edge: tuple[str, ...]


def climb(ladders: Mapping[str, Ladder], worth: Callable[[Point], float]) -> Found:
    """Move along one setting at a time, up or down while the score improves, until no change improves it.

    This is coordinate ascent. It finds the best point if the score has a single maximum, and tries far fewer
    points than a full grid, so the ranges can be long. Ties go to the point tried first.

    Args:
        ladders: one for each setting, in the order in which they are tuned.
        worth: score of a point; it is called once per point.
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
    """Return the best position found along one axis."""
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
