"""The users of a request as queries: their events are read from the store first, then all are encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.errors import BundleError
from twotower.recommender.fitted_towers import Unknown
from twotower.recommender.query_context import QueryContext
from twotower.recommender.row_queries import RowQueries
from twotower.server.catalogue import NO_ROWS, Rows
from twotower.server.counted import counted
from twotower.server.errors import ApiError, shown
from twotower.server.inputs import Id, encoded_context, encoded_features, new_id
from twotower.server.request_models import UserQuery
from twotower.server.settings import Limits
from twotower.server.state import State
from twotower.server.user_events import Past, UserEvents
from twotower.server.workers import Deadline
from twotower.towers import SideArrays

F32 = NDArray[np.float32]

IN_PATH = "user_id"
"""Place of a user who is asked about by id in the path, where nothing else can be given."""
TOGETHER = 64
"""Users that are read and answered at once, so that memory does not follow their number."""
_NO_ITEMS, _NO_VALUES = Lists.empty(1), np.empty(0)
_NOBODY, _ONE = np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64)
_MODELS = 3  # further ones of which a user is kept as encoded
_STEP = 50  # users whose past is read before others get their turn


@dataclass(frozen=True, eq=False)
class AskedUser:
    """One user of a request.

    Attributes:
        where: its place in the request.
        name: its id in the type of the model's ids.
        past: what it did since training.
        features: of a new user.
        history: items that it is said to like.
        labels: of each item of ``history``, None where it is only known to be liked.
        times: of each item of ``history``, seconds.
        at: when it is asked, seconds; None for now.
        context: in what context.
    """

    where: str
    name: Id | None
    past: Past
    features: dict[str, Any] | None = None
    history: Sequence[Id] | None = None
    labels: Sequence[float | None] | None = None
    times: Sequence[float] | None = None
    at: float | None = None
    context: dict[str, Any] | None = None

    @property
    def by_id(self) -> bool:
        """Whether nothing is said but the id."""
        return self.features is None and self.history is None and self.at is None and self.context is None


@dataclass(frozen=True, eq=False)
class EncodedUser:
    """A user as a search asks about them: an encoded query.

    Attributes:
        vector: float32 (dim,).
        seen: int32 rows that the user has had, in training or since.
        asked: one query: the user, with what has happened since and the request's history.
        events: how many of its items are interactions since training.
        complete: whether the store said what has happened since training; else that is left out, or as it was
            when it was last read.
        unknown: values of features and context, of all users that were encoded together, that the model
            doesn't know.
    """

    vector: F32
    seen: Rows
    asked: RowQueries
    events: int = 0
    complete: bool = True
    unknown: Unknown = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the model knows the user."""
        return bool(self.asked.rows[0] >= 0)


async def with_past(
    state: State, events: UserEvents, asked: Iterable[tuple[str, Id | UserQuery]], limits: Limits
) -> list[AskedUser]:
    """Return the users of a request, given with their places, with their past.

    Raises:
        ApiError: one is not given as it must be.
        StoreUnavailable: events can't be read.
    """
    found: list[AskedUser] = []
    for where, given in asked:
        query = given if isinstance(given, UserQuery) else UserQuery.model_construct(user=given)
        name = query.id if query.user is None else query.user
        history = query.items if query.history is None else query.history
        if name is None and query.features is None and history is None:
            raise ApiError(422, f"{where}: a query needs a user, features or a history", where)
        if query.labels is not None and state.recommender.encoder.schema.label is None:
            raise ApiError(422, f"{where}: this model has no label; leave labels out", f"{where}.labels")
        if fault := state.encoder.histories.interactions.fault(query.labels or ()):
            raise ApiError(422, f"{where}: {fault}", f"{where}.labels")
        past = Past()
        if name is not None:
            name = new_id(state.users, "user", name, limits.id_length, where)
            trained = name in state.users.index
            if trained and query.features is not None:
                raise ApiError(
                    422,
                    f"features are for users that the model does not know; it knows {shown(name)}",
                    f"{where}.features",
                )
            past = await events.past(name, without_store=trained)
        times: Any = query.times  # seconds, by their validator
        at: Any = query.at
        said = query.features, history, query.labels, times, at, query.context
        found.append(AskedUser(where, name, past, *said))
        if len(found) % _STEP == 0:
            await asyncio.sleep(0)
    return found


def encoded_users(state: State, asked: Sequence[AskedUser], deadline: Deadline) -> list[EncodedUser]:
    """Return the users that were asked about.

    Raises:
        ApiError: one that is not known, by id, features or history; the time is up.
    """
    found = []
    for one, user in zip(asked, encoded(state, asked, deadline), strict=True):
        if user is None:
            raise ApiError(
                404,
                f"user {shown(one.name)} is not known: it is not in the training set and has no events; "
                + ("ask POST /v1/recommend, with" if one.where == IN_PATH else "give")
                + " features (they may be {}) or a history too",
                one.where,
            )
        found.append(user)
    return found


def encoded(state: State, asked: Sequence[AskedUser], deadline: Deadline) -> list[EncodedUser | None]:
    """Return users, None for one of whom nothing is known; their vectors are made together.

    Raises:
        ApiError: features or a context that can't be read, an unknown item; the time is up.
    """
    deadline.check()
    described = [one for one in asked if one.features]
    features, unknown = None, Unknown()
    if described:
        where = [f"{one.where}.features" for one in described]
        rows = [one.features or {} for one in described]
        features = encoded_features(state.recommender, "users", rows, where, unknown)
    context = QueryContext(state.recommender.towers)
    around = encoded_context(
        context,
        [one.context for one in asked],
        np.array([one.at for one in asked], dtype=np.float64),  # None is nan
        [f"{one.where}.context" for one in asked],
        unknown,
    )
    found: list[EncodedUser | None] = [None] * len(asked)
    fresh: dict[int, _Draft] = {}
    number = 0
    for place, one in enumerate(asked):
        if one.by_id and not context.timed:
            found[place] = next((user for solved, user in one.past.solved if solved is state), None)
        nobody = one.features is None and one.history is None and not one.past.events
        if found[place] is not None or (nobody and one.name not in state.users.index):
            continue
        own = None
        if features is not None and one.features:
            own = features.take(torch.tensor([number], device=features.warm.device))
            number += 1
        draft = _draft(state, one, own)
        if around is not None:
            row = around.take(torch.tensor([place], device=around.warm.device))
            draft = draft._replace(asked=replace(draft.asked, context=row))
        fresh[place] = draft
    if not fresh:
        return found
    deadline.check()
    try:
        vectors = state.encoder.histories.vectors(RowQueries.joined([own.asked for own in fresh.values()]))
    except BundleError as error:
        raise ApiError(422, str(error), asked[next(iter(fresh))].where) from None
    for (place, draft), vector in zip(fresh.items(), vectors, strict=True):
        one = asked[place]
        user = EncodedUser(vector, draft.seen, draft.asked, draft.events, one.past.complete, unknown)
        found[place] = user
        if one.by_id and one.past.events and not context.timed:
            others = [pair for pair in one.past.solved if pair[0].version != state.version]
            one.past.solved[:] = [(state, user), *others[:_MODELS]]
    deadline.check()
    return found


class _Draft(NamedTuple):
    """A user without the vector; see `EncodedUser`."""

    asked: RowQueries
    seen: Rows
    events: int


def _draft(state: State, asked: AskedUser, features: SideArrays | None) -> _Draft:
    """Return what a user asks with.

    An event of an item that is no longer known is passed over. A skip is seen, and moves nothing: that an
    item was refused once says little of others. Neither does a label that is no positive move a model that
    learns from positives alone, unless it reads histories, and so also what was not liked.

    Args:
        state: to answer from.
        asked: the user.
        features: one row; None for the trained or the typical user.
    """
    row = -1 if asked.name is None else state.users.index.get(asked.name, -1)
    described = _NOBODY if features is None else _ONE
    trained = NO_ROWS if row < 0 else state.items.now(state.recommender.seen[row])
    histories = state.encoder.histories
    happened = [
        (at, event)
        for event in counted(state, asked.name, asked.past)
        if (at := state.items.row(event.item, gone=True)) is not None
    ]
    moment = None if asked.at is None else np.array([asked.at])
    if not happened and not asked.history:
        nothing = RowQueries(np.array([row]), _NO_ITEMS, _NO_VALUES, None, moment, described, features)
        return _Draft(nothing, trained, 0)
    liked = item_rows(state, asked.history or (), f"{asked.where}.history")
    late = liked
    if happened:
        late = np.concatenate([np.array([at for at, _ in happened], dtype=np.int32), liked])
    items = late.astype(np.int64)
    labels, skips = None, list[int]()
    if happened or asked.labels:
        labels = np.full(len(items), np.nan)
        for place, (_, event) in enumerate(happened):
            if event.kind != "interaction":
                skips.append(place)
            elif event.value is not None:
                labels[place] = event.value
        if asked.labels:
            labels[len(happened) :] = asked.labels  # None is nan
    values = histories.values(items, labels)
    if skips:
        values[skips] = np.nan
    times = np.full(len(items), np.nan)
    times[: len(happened)] = [event.time for _, event in happened]
    if asked.times:
        times[len(happened) :] = asked.times
    query = RowQueries(
        np.array([row]),
        Lists(np.array([0, len(items)]), items),
        values,
        times,
        moment,
        described,
        features,
    )
    seen = np.concatenate([trained, late]) if len(trained) else late
    return _Draft(query, seen, len(happened) - len(skips))


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
