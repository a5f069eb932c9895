"""The users of a request: their events are read from the store first, then all are encoded together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twotower.server.bodies import UserQuery
from twotower.server.catalogue import Rows
from twotower.server.encoding import encoded_features
from twotower.server.errors import ApiError, shown
from twotower.server.ids import Id
from twotower.server.settings import Limits
from twotower.server.state import State
from twotower.server.users import Past, User, Users, encoded, known
from twotower.server.work import Deadline

TOGETHER = 64
"""Users that are read and answered at once, so that memory does not follow their number."""
_STEP = 50  # users whose past is read before others get their turn


@dataclass(frozen=True, eq=False)
class Asked:
    """One user of a request.

    Attributes:
        where: its place in the request.
        name: its id as the model writes it.
        features: of a new user.
        history: items that it is said to like.
        past: what it did since training.
    """

    where: str
    name: Id | None
    features: dict[str, Any] | None
    history: Sequence[Id] | None
    past: Past


async def with_past(
    state: State, users: Users, asked: Iterable[tuple[int, Id | UserQuery]], limits: Limits
) -> list[Asked]:
    """Return the users of a request, given with their places, with their past.

    Raises:
        ApiError: one is not given as it must be.
        StoreUnavailable: events can't be read.
    """
    found: list[Asked] = []
    for place, given in asked:
        where = f"users.{place}"
        query = given
        if not isinstance(query, UserQuery):
            query = UserQuery.model_construct(user=query)
        name = query.id if query.user is None else query.user
        history = query.items if query.history is None else query.history
        features = query.features
        if name is None and features is None and history is None:
            raise ApiError(422, f"{where}: a query needs a user, features or a history", where)
        if name is not None:
            name = state.users.new(name, limits.id_length, where)
        if features is not None and name in state.users.index:
            raise ApiError(
                422,
                f"features are for users that the model does not know; it knows {shown(name)}",
                f"{where}.features",
            )
        trained = features is None and name in state.users.index
        past = Past() if name is None else await users.past(name, without_store=trained)
        found.append(Asked(where, name, features, history, past))
        if len(found) % _STEP == 0:
            await asyncio.sleep(0)
    return found


def people(state: State, asked: Sequence[Asked], limits: Limits, deadline: Deadline) -> list[User]:
    """Return the users that were asked about.

    Raises:
        ApiError: one that is not known, by id, features or history; the time is up.
    """
    deadline.check()
    described = [place for place, one in enumerate(asked) if one.features]
    starts = {}
    if described:
        rows = [asked[place].features or {} for place in described]
        where = [f"{asked[place].where}.features" for place in described]
        vectors = encoded_features(state.recommender, "users", rows, where)
        starts = dict(zip(described, vectors, strict=True))
    found = []
    for place, one in enumerate(asked):
        deadline.check()
        if one.features is None and not one.history:
            user = None if one.name is None else known(state, one.name, one.past)
            if user is None and one.history is None:
                raise ApiError(
                    404,
                    f"user {shown(one.name)} is not known: it is not in the training set and has no events; "
                    "give features (they may be {}) or a history too",
                    one.where,
                )
            found.append(encoded(state, -1) if user is None else user)
            continue
        row = -1 if one.name is None else state.users.index.get(one.name, -1)
        liked = item_rows(state, one.history or (), f"{one.where}.history").tolist()
        start = starts.get(place)
        found.append(encoded(state, row, one.past.events, liked, start=start, complete=one.past.complete))
    return found


def item_rows(state: State, items: Sequence[Id], where: str, *, strict: bool = True) -> Rows:
    """Return the rows of a list of items; without ``strict``, of those that are known.

    Raises:
        ApiError: one is not known, and it is strict.
    """
    rows: list[int] = []
    for place, item in enumerate(items):
        row = state.items.row(item)
        if row is None and strict:
            raise ApiError(422, f"{where}: there is no item {shown(item)}", f"{where}.{place}")
        if row is not None:
            rows.append(row)
    return np.array(rows, dtype=np.int32)
