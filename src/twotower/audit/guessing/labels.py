"""The nature of a label: how much an item was liked, how often it was used, or which action was taken.

It decides which interactions are positives, which a ranking should find. Models learn from all interactions,
graded by the rank of their label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl

from twotower.audit.guessing.names import COUNTS, RATIOS, SCALES, has_word
from twotower.audit.nominal import lattice
from twotower.audit.statistics import Floats
from twotower.data.placeholders import placeholder_label

_TOP = 0.7
"""Position on a scale where positives begin: 4 of 1 to 5."""
_LEAST = 0.1
"""Minimum share of positive rows; the threshold is lowered to reach it."""
_MEASURE = 0.75
"""Quantile of a measure from which rows are positive."""
_TAIL = 10.0
"""A count has a long tail if its 99% quantile exceeds its median by this factor."""

_STEPS: Final = (
    "dislike disliked downvote thumbsdown hide skip skipped report unlike unsubscribe unfollow return "
    "returned refund cancel cancelled removefromcart removefromwishlist remove negative no",
    "impression impressions exposure exposed show shown display displayed unclicked noclick",
    "view viewed views pv click clicked clicks visit detail pageview productview viewitem itemview "
    "open browse watch watched play played listen listened read",
    "like liked fav favorite favourite favorited wishlist addtowishlist bookmark save saved share "
    "shared upvote thumbsup follow comment collect positive yes rate rated",
    "cart addtocart addcart basket addtobasket addtobag",
    "checkout begincheckout",
    "purchase purchased buy bought transaction order ordered sale conversion booking booked book paid "
    "payment install",
)
"""Actions on an item, from the most negative to the most positive."""
_STEP_OF: Final = {word: step for step, words in enumerate(_STEPS) for word in words.split()}
_FIRST_FOR = 2
"""The first positive action."""


class Nature(StrEnum):
    """The nature of a label."""

    YES_NO = "yes or no"
    SCALE = "a rating on a scale"
    STEPS = "actions, from weakest to strongest"
    COUNT = "a count or an amount"
    MEASURE = "a measure"


@dataclass(frozen=True, eq=False)
class Label:
    """A label.

    Attributes:
        column: its name.
        why: the reason why it is the label.
        nature: the nature of its values.
        y: its values, (n,).
        levels: for `Nature.STEPS`, the words from weakest to strongest, numbered from 1.
        threshold: the smallest label of a positive; None without a threshold.
        quantile: the smallest quantile of a positive; None without one.
        positives: which interactions are positives, and why.
        sentinel: a frequent value that means "no label"; None if there is none.
    """

    column: str
    why: str
    nature: Nature
    y: Floats
    levels: tuple[str, ...] = ()
    threshold: float | None = None
    quantile: float | None = None
    positives: str = ""
    sentinel: float | None = None


def graded(column: str, why: str, y: Floats) -> Label:
    """Return the label of a column of numbers.

    Args:
        column: its name.
        why: the reason why it is the label.
        y: finite numbers (n,), not all equal.
    """
    sentinel = sentinel_of(column, y)
    if sentinel is not None:
        given = graded(column, why, y[y != sentinel])
        known = y[y != sentinel]
        least = given.threshold
        if least is None:
            least = float(known.min() if given.quantile is None else np.quantile(known, given.quantile))
        said = f"{given.positives} that have one; {sentinel:g} means that there is none"
        return replace(given, y=y, threshold=least, quantile=None, positives=said, sentinel=sentinel)
    nature = nature_of(column, y)
    if nature is Nature.YES_NO:
        yes = float(y.max())
        return Label(
            column, why, nature, y, threshold=yes, positives=f"{_share(y >= yes)} of the rows are yes"
        )
    if nature is Nature.SCALE:
        at = _top(y)
        said = f"the top of the scale from {y.min():g} to {y.max():g}: {_share(y >= at)} of the rows"
        return Label(column, why, nature, y, threshold=at, positives=said)
    if nature is Nature.COUNT:
        if y.min() > 0:
            return Label(
                column, why, nature, y, positives="every row is a positive; larger values count more"
            )
        least = float(y[y > 0].min())
        said = f"above 0: {_share(y >= least)} of the rows; 0 and less are negative"
        return Label(column, why, nature, y, threshold=least, positives=said)
    said = "the upper quarter of the rows: an interaction alone does not mean that the item was liked"
    return Label(column, why, nature, y, quantile=_MEASURE, positives=said)


def sentinel_of(column: str, y: Floats) -> float | None:
    """Return a value that means "no label" in many rows (n,); None if there is none.

    0 is one only below a scale: among counts it is a count.
    """
    found = placeholder_label(y)
    if found is None or (float(found.value) == 0.0 and not has_word(column, SCALES)):
        return None
    return float(found.value)


def stepped(column: str, why: str, values: pl.Series) -> Label | None:
    """Return the label of a column with words for actions; None if a word is unknown."""
    words = values.cast(pl.String).alias("word")
    counts = words.value_counts(sort=True)
    levels = [str(word) for word in counts.get_column("word")]
    steps = [_step(word) for word in levels]
    if len(levels) < 2 or None in steps:
        return None
    places = sorted(range(len(levels)), key=lambda place: (steps[place], place))  # rarer actions are stronger
    ordered = [levels[place] for place in places]
    number = {word: float(place) for place, word in enumerate(ordered, 1)}
    y = words.replace_strict(number, return_dtype=pl.Float64).to_numpy()
    least = next((number[levels[p]] for p in places if (steps[p] or 0) >= _FIRST_FOR), None)
    if least is None or least == 1.0:
        return Label(column, why, Nature.STEPS, y, tuple(ordered), positives="every row is a positive")
    said = f"from '{ordered[int(least) - 1]}' on: {_share(y >= least)} of the rows"
    return Label(column, why, Nature.STEPS, y, tuple(ordered), threshold=least, positives=said)


def speaks_of_steps(values: Sequence[str]) -> bool:
    """Return whether at least half of some words are known actions."""
    known = sum(_step(word) is not None for word in values)
    return len(values) > 1 and 2 * known >= len(values)


def nature_of(column: str, y: Floats) -> Nature:
    """Return the nature of the values (n,) of a label with this name."""
    values = np.unique(y)
    if set(values.tolist()) in ({0.0, 1.0}, {-1.0, 1.0}):
        return Nature.YES_NO
    whole = bool((values == np.round(values)).all())
    tail = float(np.quantile(y, 0.99)) > _TAIL * max(float(np.median(y)), 1e-12)
    if has_word(column, RATIOS):
        return Nature.MEASURE
    if has_word(column, COUNTS) and (whole or tail):
        return Nature.COUNT
    steps = lattice(y) is not None
    if has_word(column, SCALES) and steps and len(values) <= 101:
        return Nature.SCALE
    if steps and len(values) <= 11 and np.abs(values).max() <= 10 and not tail:
        return Nature.SCALE
    return Nature.COUNT if whole and (values[0] >= 0 or tail) else Nature.MEASURE


def _top(y: Floats) -> float:
    """Return the smallest value (of at least two) in the upper part of a scale."""
    values = np.unique(y)
    at = int(np.searchsorted(values, values[0] + _TOP * (values[-1] - values[0]) - 1e-9))
    while at > 1 and float((y >= values[at]).mean()) < _LEAST:
        at -= 1
    return float(values[at])


def _step(word: str) -> int | None:
    return _STEP_OF.get(re.sub(r"[\W_]+", "", word.lower()))


def _share(where: np.typing.NDArray[np.bool_]) -> str:
    return f"{where.mean():.0%}"
