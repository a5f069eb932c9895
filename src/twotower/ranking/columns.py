"""Encoded features of users, items or context as a plain table of numbers for trees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twotower.core.blocks import Bag, Codes, Dense, EncodedShape
from twotower.core.lists import Lists
from twotower.towers import SideArrays

F32 = NDArray[np.float32]
_WIDE, _FEW, _MANY = 8, 64, 4096
"""Largest width of numbers, and number of values of a category, that trees read of a column; and of values
that likeness to a history is counted of."""


class Feature(NamedTuple):
    """A column of what trees read.

    Attributes:
        name: of it.
        category: whether its numbers are codes of a category.
    """

    name: str
    category: bool = False


def columns_of(shape: EncodedShape | None) -> list[Feature]:
    """Return the columns of `table_of` for arrays of this shape."""
    if shape is None:
        return []
    found = []
    for name, form in shape.forms.items():
        if form.kind is Dense and form.size <= _WIDE:
            found += [Feature(name if form.size == 1 else f"{name}_{i}") for i in range(form.size)]
    coded = [name for name in shape.ranges if shape.forms[name].kind is Codes]
    return found + [Feature(name, True) for name in coded if shape.forms[name].size <= _FEW]


def table_of(arrays: SideArrays) -> F32:
    """Return numbers, then codes of categories, float32 (rows, width), as `columns_of` names them."""
    shape, parts, first = arrays.shape, [np.empty((arrays.rows, 0), np.float32)], 0
    dense, codes = arrays.dense.cpu().numpy(), arrays.codes.cpu().numpy()
    for form in shape.forms.values():
        if form.kind is Dense:
            if form.size <= _WIDE:
                parts.append(dense[:, first : first + form.size])
            first += form.size
    coded = [name for name in shape.ranges if shape.forms[name].kind is Codes]
    for place, name in enumerate(coded):
        if shape.forms[name].size <= _FEW:
            parts.append((codes[:, place, None] - shape.ranges[name][0]).astype(np.float32))
    return np.ascontiguousarray(np.concatenate(parts, axis=1), np.float32)


def values_of(arrays: SideArrays) -> dict[str, tuple[Lists, int]]:
    """Return the categories of each row, column by column: codes from 0, and how many there are.

    Codes 0 (unknown) and 1 (missing) are left out.
    """
    shape, found = arrays.shape, {}
    coded = [name for name in shape.ranges if shape.forms[name].kind is Codes]
    bags = [name for name in shape.ranges if shape.forms[name].kind is Bag]
    codes = arrays.codes.cpu().numpy()
    for place, name in enumerate(coded):
        own = codes[:, place] - shape.ranges[name][0]
        found[name] = Lists.from_lengths(np.ones(len(own), np.int64), own.astype(np.int32))
    for (indptr, entries), name in zip(arrays.bags, bags, strict=True):
        numbers = entries.cpu().numpy() - shape.ranges[name][0]
        found[name] = Lists(indptr.cpu().numpy(), numbers.astype(np.int32))
    return {
        name: (lists.where(lists.values > 1), shape.forms[name].size)
        for name, lists in found.items()
        if shape.forms[name].size <= _MANY
    }
