"""What a client gives, as the library takes it: ids, filters, features."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.core.vocabulary import Vocabulary
from twotower.errors import TwoTowerError
from twotower.recommender import Recommender
from twotower.recommender.fitted_towers import Unknown
from twotower.recommender.queries import alike
from twotower.recommender.query_context import QueryContext
from twotower.server.errors import ApiError, shown
from twotower.server.request_models import Choice, Range
from twotower.towers import SideArrays

Id = int | str
_UNREADABLE = (TwoTowerError, ValueError, TypeError, OverflowError, pl.exceptions.PolarsError)


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
    recommender: Recommender,
    which: str,
    rows: Sequence[Mapping[str, Any]],
    where: Sequence[str],
    unknown: Unknown,
) -> SideArrays:
    """Return what a tower reads of n new users or items, at least one.

    Args:
        recommender: the model.
        which: "users" or "items".
        rows: the features of each.
        where: the place of each in the request.
        unknown: gets the values that the model doesn't know.

    Raises:
        ApiError: a column that is not a feature, or a value that is not of its kind; of the first such row.
    """
    try:
        return recommender.towers.arrays_of_dicts(rows, which, unknown)
    except _UNREADABLE as error:
        if len(rows) > 1:  # halves find the row that is wrong soon
            half = len(rows) // 2
            parts = ((rows[:half], where[:half]), (rows[half:], where[half:]))
            return SideArrays.joined([encoded_features(recommender, which, *part, unknown) for part in parts])
        raise _refusal(error, where[0]) from None


def encoded_context(
    context: QueryContext,
    rows: Sequence[Mapping[str, Any] | None],
    at: NDArray[np.float64],
    where: Sequence[str],
    unknown: Unknown,
) -> SideArrays | None:
    """Return what the user tower reads of the context of n queries; None if it reads nothing.

    Args:
        context: of the model.
        rows: the columns of each; None where none are given.
        at: float64 (n,) seconds, when each is asked, nan for now.
        where: the place of each in the request.
        unknown: gets the values that the model doesn't know.

    Raises:
        ApiError: a column that is not one of the context, or a value that is not of its kind.
    """
    given = [place for place, row in enumerate(rows) if row is not None]
    try:
        parts = alike([row for row in rows if row is not None])
        placed = [part._replace(places=np.array(given)[part.places]) for part in parts]
        return context.arrays(placed, at, len(rows), unknown)
    except _UNREADABLE as error:
        for place in given if len(given) > 1 else ():
            encoded_context(context, [rows[place]], at[[place]], [where[place]], {})  # raises of the first
        raise _refusal(error, where[given[0]]) from None


def _refusal(error: Exception, where: str) -> ApiError:
    if isinstance(error, TwoTowerError):
        return ApiError(422, str(error), where)
    return ApiError(422, "each column must be a plain value or a list of values of one kind", where)
