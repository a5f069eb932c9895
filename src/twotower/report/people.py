"""Some users of the test set: their history, their recommendations, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from twotower.core.lists import distinct_items
from twotower.core.wording import count_of
from twotower.recommender import Recommender
from twotower.report.lists import GivenLists
from twotower.report.wording import shown

_WHERE = (0.2, 0.5, 0.85)
"""Which users are shown: at these quantiles of the number of interactions."""
_HISTORY = 8
_REASONS = 2
_TITLE = 110
"""Characters of a title that are shown."""


@dataclass(frozen=True)
class Item:
    """An item as it is shown.

    Attributes:
        id: its id.
        title: its first display column, or the id.
        about: the other display columns, short.
    """

    id: str
    title: str
    about: str


@dataclass(frozen=True)
class Given:
    """An item of a list.

    Attributes:
        item: the item.
        score: its score.
        hit: whether it was liked in the test set.
        reasons: items of the user's that raise the score most, each with what it adds.
    """

    item: Item
    score: float
    hit: bool
    reasons: tuple[tuple[Item, float], ...]


@dataclass(frozen=True)
class Person:
    """A user.

    Attributes:
        id: the id.
        items: how many different ones the user has in the training set.
        liked: how many items of the test set the user liked.
        history: items of the user, each once with its highest label (None without labels), the highest first.
        given: the recommendations.
    """

    id: str
    items: int
    liked: int
    history: tuple[tuple[Item, float | None], ...]
    given: tuple[Given, ...]

    @property
    def about(self) -> str:
        """How much is known of the user."""
        in_training = count_of(self.items, "item")
        return f"{in_training} in the training set, {count_of(self.liked, 'item')} liked in the test set"


def people_of(recommender: Recommender, lists: GivenLists) -> tuple[Person, ...]:
    """Return users with few, with a typical number of, and with many interactions."""
    rows = recommender.users.rows(lists.users)
    counts = np.where(rows >= 0, recommender.seen.lengths[rows], 0)
    warm = np.flatnonzero(counts > 0)
    if not len(warm):
        return ()
    order = warm[np.argsort(counts[warm], kind="stable")]
    at = dict.fromkeys(int(order[round(q * (len(order) - 1))]) for q in _WHERE)
    return tuple(_person(recommender, lists, place, int(rows[place])) for place in at)


def _person(recommender: Recommender, lists: GivenLists, place: int, row: int) -> Person:
    names = Names(recommender)
    past, labels = distinct_items(recommender.seen, recommender.seen_label, row)
    history = tuple(
        (names.of_row(int(item)), None if labels is None else float(labels[n]))
        for n, item in enumerate(past[:_HISTORY])
    )
    relevant = lists.relevant[place]
    found = lists.lists[place]
    found = found[found >= 0]
    ids = lists.items.gather(found)
    known = recommender.items.rows(ids)
    given = []
    reasons = _reasons(recommender, row, recommender.items.ids.gather(known[known >= 0]))
    for item, known_row, catalogue_row in zip(ids, known, found, strict=True):
        score, because = reasons.get(item, (float("nan"), ()))
        given.append(
            Given(
                names.of_row(int(known_row)) if known_row >= 0 else Item(str(item), str(item), ""),
                score,
                bool(np.isin(catalogue_row, relevant)),
                tuple((names.of_id(of), value) for of, value in because),
            )
        )
    return Person(shown(lists.users[place]), len(past), len(relevant), history, tuple(given))


def _reasons(
    recommender: Recommender, row: int, items: pl.Series
) -> dict[Any, tuple[float, tuple[tuple[Any, float], ...]]]:
    """Return, for each item, its score and the user's items that raise it most."""
    if not len(items):
        return {}
    table = recommender.explain(recommender.users.ids[row], items)
    scored, because = table.columns[:2]
    found: dict[Any, tuple[float, tuple[tuple[Any, float], ...]]] = {}
    for (item,), of in table.group_by(scored, maintain_order=True):
        first = of.filter(pl.col("contribution") > 0).head(_REASONS)
        pairs = zip(first[because], first["contribution"], strict=True)
        found[item] = (float(of["score"][0]), tuple(pairs))
    return found


class Names:
    """What items are called."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.display = recommender.display.drop(recommender.encoder.schema.item)

    def of_row(self, row: int) -> Item:
        """Return the item of a row of the recommender."""
        named = [_cut(shown(value)) for value in self.display.row(row)] if self.display.width else []
        identity = shown(self.recommender.items.ids[row])
        title = named[0] if named and named[0] else identity
        return Item(identity, title, _about(named[1:]))

    def of_id(self, item: Any) -> Item:
        """Return the item of an id that the recommender knows."""
        series = pl.Series([item], dtype=self.recommender.items.ids.dtype)
        return self.of_row(int(self.recommender.items.rows(series)[0]))


def called(recommender: Recommender, item: Any) -> str:
    """Return what to call an item in a sentence: its title and its id, or its id alone."""
    known = item in recommender.items.ids
    named = Names(recommender).of_id(item) if known else Item(shown(item), shown(item), "")
    return f"item {named.id}" if named.title == named.id else f"“{named.title}” (#{named.id})"


def _about(values: Sequence[str]) -> str:
    return " · ".join(value for value in dict.fromkeys(values) if value)[:_TITLE]


def _cut(text: str) -> str:
    return text if len(text) <= _TITLE else text[: _TITLE - 1].rstrip() + "…"
