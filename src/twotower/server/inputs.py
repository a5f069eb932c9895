"""What a client gives, as the library takes it: ids, filters, features."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from twotower.core.vocabulary import Vocabulary
from twotower.errors import TwoTowerError
from twotower.recommender import Recommender
from twotower.server.errors import ApiError, shown
from twotower.server.request_models import Choice, Range
from twotower.towers import SideArrays

Id = int | str


def new_id(known: Vocabulary, what: str, given: Id, longest: int, where: str) -> Id:
    """Return an id, known or new, in the type of the model's ids.

    Args:
        known: the model's ids.
        what: "user" or "item".
        given: the id.
        longest: most characters of a new id.
        where: its place in the request.

    Raises:
        ApiError: it is empty, too long, or contains control characters.
    """
    name: Id = known.native(given)
    if name in known.index:
        return name
    text, rule = str(name), None
    if not 1 <= len(text) <= longest:
        rule = f"have 1 to {longest} characters, got {len(text)}"
    elif any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        rule = f"hold no control characters, got {shown(text)}"
    if rule is not None:
        raise ApiError(422, f"{where}: a new {what}'s id must {rule}", where)
    return name


def plain_filters(
    filters: Mapping[str, Choice], schema: Mapping[str, pl.DataType], most: int
) -> dict[str, Any]:
    """Return filters as `ColumnFilters` takes them.

    Raises:
        ApiError: a filter on a display column has more than ``most`` values.
    """
    for name, choice in filters.items():
        if name in schema and isinstance(choice, list) and len(choice) > most:
            raise ApiError(422, f"a filter takes at most {most} values; got {len(choice)}", f"filters.{name}")
    return {
        name: choice.model_dump() if isinstance(choice, Range) else choice for name, choice in filters.items()
    }


def encoded_features(
    recommender: Recommender, which: str, rows: Sequence[Mapping[str, Any]], where: Sequence[str]
) -> SideArrays:
    """Return what a tower reads of n new users or items, at least one.

    Args:
        recommender: the model.
        which: "users" or "items".
        rows: the features of each.
        where: the place of each in the request.

    Raises:
        ApiError: a column that is not a feature, or a value that is not of its kind; of the first such row.
    """
    try:
        return recommender.towers.arrays_of_dicts(rows, which)
    except (TwoTowerError, ValueError, TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        if len(rows) > 1:  # halves find the row that is wrong soon
            half = len(rows) // 2
            parts = ((rows[:half], where[:half]), (rows[half:], where[half:]))
            return SideArrays.joined([encoded_features(recommender, which, *part) for part in parts])
        message = (
            str(error)
            if isinstance(error, TwoTowerError)
            else "each column must be a plain value or a list of values of one kind"
        )
        raise ApiError(422, message, where[0]) from None
