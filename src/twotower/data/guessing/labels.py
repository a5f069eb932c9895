"""What a label says: how much an item was liked, how often it was used, or what was done with it.

The nature of a label decides which interactions a ranking should find, the positives. All of them are learnt
from, graded by the rank of their label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
import polars as pl

from twotower.data.audit.nominal import lattice
from twotower.data.audit.statistics import Floats
from twotower.data.guessing.names import COUNTS, RATIOS, SCALES, has_word
from twotower.data.placeholders import placeholder_label

_TOP = 0.7
"""How far up a scale the positives begin: 4 of 1 to 5."""
_LEAST = 0.1
"""Share of the rows that has to be positive at least; else the threshold goes down."""
_MEASURE = 0.75
"""Quantile from which a measure is a positive."""
_TAIL = 10.0
"""How many medians the 99% quantile of a count with a long tail has."""

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
"""What is done with an item, from against it to most for it."""
_STEP_OF: Final = {word: step for step, words in enumerate(_STEPS) for word in words.split()}
_FIRST_FOR = 2
"""The first step that speaks for an item."""


class Nature(StrEnum):
    """What the values of a label are."""

    YES_NO = "yes or no"
    SCALE = "a rating on a scale"
    STEPS = "what was done, from weakest to strongest"
    COUNT = "how often, or how much"
    MEASURE = "a measure"


@dataclass(frozen=True, eq=False)
class Label:
    """A label that was found.

    Attributes:
        column: its name.
        why: why it is the label.
        nature: what its values are.
        y: its values, (n,).
        levels: of `Nature.STEPS`, the words from weakest to strongest, which count from 1.
        threshold: the least label of a positive; none if there is no threshold.
        quantile: the least quantile of a positive; none if there is none.
        positives: which interactions are positives, and why.
        sentinel: a value that says that there is no label, which many rows have; none if there is none.
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
    """Return the label that a column of numbers is.

    Args:
        column: its name.
        why: why it is the label.
        y: finite numbers (n,), of more than one value.
    """
    sentinel = sentinel_of(column, y)
    if sentinel is not None:
        given = graded(column, why, y[y != sentinel])
        known = y[y != sentinel]
        least = given.threshold
        if least is None:
            least = float(known.min() if given.quantile is None else np.quantile(known, given.quantile))
        said = f"{given.positives} that have one; {sentinel:g} says that there is none"
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
            return Label(column, why, nature, y, positives="every row is a positive; the more, the stronger")
        least = float(y[y > 0].min())
        said = f"above 0, as {_share(y >= least)} of the rows are; 0 and less speak against the item"
        return Label(column, why, nature, y, threshold=least, positives=said)
    said = "the upper quarter of the rows: that something was met does not say that it was liked"
    return Label(column, why, nature, y, quantile=_MEASURE, positives=said)


def sentinel_of(column: str, y: Floats) -> float | None:
    """Return a value that stands for "no label" in many rows (n,); none if there is none.

    0 is one only below a scale: among counts it is a count.
    """
    found = placeholder_label(y)
    if found is None or (float(found.value) == 0.0 and not has_word(column, SCALES)):
        return None
    return float(found.value)


def stepped(column: str, why: str, values: pl.Series) -> Label | None:
    """Return the label that a column with words for what was done is; none if a word is not known."""
    words = values.cast(pl.String)
    counts = words.value_counts(sort=True)
    levels = [str(word) for word in counts.get_column(counts.columns[0])]
    steps = [_step(word) for word in levels]
    if len(levels) < 2 or None in steps:
        return None
    places = sorted(range(len(levels)), key=lambda place: (steps[place], place))  # the rarer, the stronger
    ordered = [levels[place] for place in places]
    number = {word: float(place) for place, word in enumerate(ordered, 1)}
    y = words.replace_strict(number, return_dtype=pl.Float64).to_numpy()
    least = next((number[levels[p]] for p in places if (steps[p] or 0) >= _FIRST_FOR), None)
    if least is None or least == 1.0:
        return Label(column, why, Nature.STEPS, y, tuple(ordered), positives="every row is a positive")
    said = f"from '{ordered[int(least) - 1]}' on: {_share(y >= least)} of the rows"
    return Label(column, why, Nature.STEPS, y, tuple(ordered), threshold=least, positives=said)


def speaks_of_steps(values: Sequence[str]) -> bool:
    """Say whether at least half of some words are known ones for what was done."""
    known = sum(_step(word) is not None for word in values)
    return len(values) > 1 and 2 * known >= len(values)


def nature_of(column: str, y: Floats) -> Nature:
    """Return what the values (n,) of a label of this name are."""
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
    """Return the least value (of at least two) in the upper part of a scale."""
    values = np.unique(y)
    at = int(np.searchsorted(values, values[0] + _TOP * (values[-1] - values[0]) - 1e-9))
    while at > 1 and float((y >= values[at]).mean()) < _LEAST:
        at -= 1
    return float(values[at])


def _step(word: str) -> int | None:
    return _STEP_OF.get(re.sub(r"[\W_]+", "", word.lower()))


def _share(where: np.typing.NDArray[np.bool_]) -> str:
    return f"{where.mean():.0%}"
