"""Tell whether numbers are codes: by the column's name, or by the frequencies of its values.

A quantity's neighbouring values are about equally frequent (there are about as many users of 34 as of 35);
the frequencies of two neighbouring codes are as unlike as those of any two.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from twotower.audit.statistics import Floats

_CODE: Final = re.compile(
    r"(^|_)(ids?|codes?|zip|zip_?code|postcode|isbn|ean|sku|types?|categor(y|ies)|cat|class|brand|genre|tag|hash|"
    r"gender|sex|occupation|country|region|city|language|status|onehot(_?feat)?|feat)_?\d*($|_)"
)
_QUANTITY: Final = re.compile(
    r"(^|_)(cnt|count|counts|num|number|n|ratio|share|rate|days?|age|total|sum|avg|mean|len|length|size|degree|"
    r"price|range|score|year|month|hour)($|_)"
)
_LEVELS = 12
"""Minimum number of values to judge frequencies."""
_PERMUTATIONS = 200


def named_as_code(name: str) -> bool:
    """Return whether a column's name is that of a code.

    >>> [named_as_code(name) for name in ("author_id", "onehot_feat7", "zipCode", "tag_count", "age")]
    [True, True, True, False, False]
    """
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return _CODE.search(snake) is not None and _QUANTITY.search(snake) is None


def lattice(x: Floats) -> Floats | None:
    """Return equally spaced numbers as integers from 0, (n,); None if they are not equally spaced.

    This recovers standardised codes. nan stays nan.
    """
    values = np.unique(x[np.isfinite(x)])
    if len(values) < 2:
        return None
    gap = float(np.diff(values).min())
    steps = (x - values[0]) / gap
    whole = np.round(steps)
    known = np.isfinite(x)
    if np.abs(steps - whole)[known].max() > 1e-3 * max(1.0, float(whole[known].max()) * 1e-3):
        return None
    return np.where(known, whole, np.nan)


def looks_like_codes(x: Floats) -> str | None:
    """Return the evidence from frequencies that (n,) numbers are codes; None without evidence.

    Codes count from 0 or 1 (or were standardised), leave few gaps, and have frequencies that are very unequal
    and as unlike between neighbours as between any two (a permutation test).
    """
    whole = lattice(x)
    if whole is None or not _could_be_codes(x[np.isfinite(x)]):
        return None
    codes = whole[np.isfinite(whole)].astype(np.int64)
    used, span = len(np.unique(codes)), int(codes.max()) + 1
    if used < _LEVELS or span > 2 * used:
        return None
    counts = np.bincount(codes)
    if counts.var() < 5.0 * counts.mean():  # even frequencies are similar everywhere and show nothing
        return None
    heights = np.log(counts + 0.5)
    rng = np.random.default_rng(0)
    roughness = float(np.abs(np.diff(heights)).sum())
    shuffled = np.array(
        [np.abs(np.diff(rng.permutation(heights))).sum() for _ in range(_PERMUTATIONS)], dtype=np.float64
    )
    smooth = float((shuffled.mean() - roughness) / shuffled.std())
    if smooth >= 2.0:
        return None
    return (
        f"{used:,} whole values of {span:,} possible ones; frequencies differ between neighbours as much "
        f"as between any two ({smooth:+.1f} standard deviations smoother than shuffled)"
    )


def _could_be_codes(known: Floats) -> bool:
    """Return whether numbers count from 0 or 1 in steps of one, or are not whole (like standardised
    codes)."""
    if not len(known):
        return False
    whole = bool((known == np.round(known)).all())
    return not whole or (known.min() in (0, 1) and float(np.diff(np.unique(known)).min()) == 1.0)
