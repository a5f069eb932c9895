"""Answers to "what for whom": lists, similar items, scores, each with its reasons."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.data.item_lists import ItemLists
from twotower.retrieval import TopK
from twotower.server.catalogue import NO_ROWS, Rows
from twotower.server.errors import ApiError, shown
from twotower.server.ids import Id
from twotower.server.keeper import encoded
from twotower.server.models import Choice, RecommendBody, ScoreBody, UserQuery
from twotower.server.settings import Limits
from twotower.server.state import State
from twotower.server.users import User, Users, happened, likes, nobody, past_of

_INLINE = 300_000
"""Scores up to which a search is made at once; a longer one goes to a thread, so that nobody waits for it."""
_OF_INDEX = 20_000
"""Scores that a search of an index takes about as long as."""


@dataclass(frozen=True)
class Wanted:
    """How much of what, for all users of a request.

    Attributes:
        k: items each.
        exclude_seen: leave out what a user has seen.
        allow: the candidates' rows; None for all.
        deny: rows that are not given.
        explain: how many reasons.
    """

    k: int
    exclude_seen: bool = True
    allow: Rows | None = None
    deny: Rows = field(default_factory=lambda: NO_ROWS)
    explain: int = 0


def wanted(state: State, body: RecommendBody, limits: Limits) -> Wanted:
    """Return what a body asks for, in rows.

    Raises:
        ApiError: more than the limits allow, an item or a column that there is not.
    """
    check_list(body.k, body.explain, limits)
    if len(body.users) > limits.users:
        raise ApiError(422, f"users: at most {limits.users} in one request, got {len(body.users)}", "users")
    if len(body.users) * body.k > limits.answer_items:
        raise ApiError(
            422,
            f"users times k: at most {limits.answer_items}, got {len(body.users)} * {body.k}; ask in parts",
            "k",
        )
    allow = None if body.allow is None else item_rows(state, body.allow, "allow", limits)
    if body.filters:
        filtered = _filtered(state, body.filters, limits)
        allow = filtered if allow is None else np.intersect1d(allow, filtered)
    deny = NO_ROWS if body.deny is None else item_rows(state, body.deny, "deny", limits)
    return Wanted(body.k, body.exclude_seen, allow, deny, body.explain)


def check_list(k: int, explain: int, limits: Limits) -> None:
    """Refuse too long a list, or too many reasons."""
    if k > limits.k:
        raise ApiError(422, f"k must be between 1 and {limits.k}, got {shown(k)}", "k")
    if explain > limits.explain:
        raise ApiError(422, f"explain: at most {limits.explain}, got {shown(explain)}", "explain")


def _filtered(state: State, filters: dict[str, Choice], limits: Limits) -> Rows:
    if len(filters) > limits.filters:
        raise ApiError(422, f"filters: at most {limits.filters} columns, got {len(filters)}", "filters")
    return state.items.filtered(filters, limits.filters)


def item_rows(state: State, items: Sequence[Id], where: str, limits: Limits) -> Rows:
    """Return the rows of a list of items.

    Raises:
        ApiError: too many, or one that is not known.
    """
    if len(items) > limits.list_length:
        raise ApiError(422, f"{where}: at most {limits.list_length} items, got {len(items)}", where)
    rows = np.empty(len(items), dtype=np.int32)
    for place, item in enumerate(items):
        row = state.items.row(item)
        if row is None:
            raise ApiError(422, f"{where}: there is no item {shown(item)}", f"{where}.{place}")
        rows[place] = row
    return rows


async def find_all(
    state: State, users: Users, asked: Sequence[Id | UserQuery], limits: Limits
) -> list[tuple[Id | None, User]]:
    """Return the users of a request.

    Raises:
        ApiError: one that is not known, by id, features or items.
        StoreUnavailable: their events can't be read.
    """
    found: list[tuple[Id | None, User]] = []
    for place, given in enumerate(asked):
        where = f"users.{place}"
        query = given
        if not isinstance(query, UserQuery):
            query = UserQuery.model_construct(id=query, features=None, items=None)
        name, features, items = query.id, query.features, query.items
        if name is None and features is None and items is None:
            raise ApiError(422, f"{where}: a user needs an id, features or items", where)
        if features is not None and len(features) > limits.features:
            raise ApiError(422, f"{where}.features: at most {limits.features}, got {len(features)}", where)
        if name is not None:
            name = state.users.new(name, limits.id_length, where)
        if features is not None:
            user = await _described(state, users, name, features, where)
        else:
            known = None if name is None else await users.find(state, name, without_store=True)
            if known is None and items is None:
                raise ApiError(
                    404,
                    f"user {shown(name)} is not known: not trained with, and without events; give features "
                    "or items with the id (features may be {})",
                    where,
                )
            user = nobody(state) if known is None else known
        if items:
            user = likes(state, user, item_rows(state, items, f"{where}.items", limits).astype(np.int64))
        found.append((name, user))
    return found


async def _described(
    state: State, users: Users, name: Id | None, features: dict[str, Any], where: str
) -> User:
    """Return a user whom the model does not know, from features and from what has happened since."""
    if name in state.users.rows:
        raise ApiError(
            422,
            f"features are for users that the model does not know; it knows {shown(name)}",
            f"{where}.features",
        )
    user = nobody(state)
    if features:
        vector = encoded(state.recommender, "users", features, f"{where}.features")
        user = replace(user, vector=vector)
    return user if name is None else happened(state, user, await users.events(name))


async def recommend(
    state: State, users: Sequence[tuple[Id | None, User]], want: Wanted
) -> list[dict[str, Any]]:
    """Return the list of each user, as `models.UserList` says."""
    candidates = len(state.items) if want.allow is None else len(want.allow)
    if state.recommender.index is not None and want.allow is None:
        candidates = min(candidates, _OF_INDEX)
    work = len(users) * candidates
    if work > _INLINE or want.explain * len(users) > 50:
        return await asyncio.to_thread(_lists, state, users, want)
    return _lists(state, users, want)


def _lists(state: State, users: Sequence[tuple[Id | None, User]], want: Wanted) -> list[dict[str, Any]]:
    vectors = users[0][1].vector[None] if len(users) == 1 else np.stack([user.vector for _, user in users])
    top = state.items.search(vectors, want.k, _barred(users, want), want.allow)
    rows, scores = top.items.tolist(), top.scores.tolist()
    results = []
    for place, (name, user) in enumerate(users):
        items = listed(state, rows[place], scores[place])
        if want.explain and items:
            own = top.items[place, : len(items)].astype(np.int64)
            for item, because in zip(items, reasons(state, user, own, want.explain), strict=True):
                item["because"] = because
        known = user.row is not None
        results.append({"user_id": name, "known": known, "events": len(user.fresh), "items": items})
    return results


def _barred(users: Sequence[tuple[Id | None, User]], want: Wanted) -> ItemLists:
    if len(users) == 1:
        own = users[0][1].seen if want.exclude_seen else NO_ROWS
        rows = np.concatenate([own, want.deny]) if len(want.deny) else own
        return np.array([0, len(rows)]), rows
    each = [np.concatenate([user.seen, want.deny]) if want.exclude_seen else want.deny for _, user in users]
    return np.append(0, np.cumsum([len(rows) for rows in each])), np.concatenate(each)


def listed(state: State, rows: Sequence[int], scores: Sequence[float]) -> list[dict[str, Any]]:
    """Return found items as `models.Recommended` says; -1 is none."""
    items = state.items
    return [
        {"item_id": items.id(row), "rank": place, "score": score, "display": items.display(row)}
        for place, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
        if row >= 0
    ]


def reasons(state: State, user: User, rows: NDArray[np.int64], most: int) -> list[dict[str, Any]]:
    """Take the scores of items apart, exactly, as `models.Because` says."""
    past, targets = past_of(state, user)
    base, parts = state.folding.explain(user.vector, past, targets, rows)
    found = []
    for row, own in enumerate(parts):
        # What a user has had twice is one reason.
        distinct, place = np.unique(past, return_inverse=True)
        summed = np.bincount(place, weights=own, minlength=len(distinct))
        order = np.argsort(-summed, kind="stable")[:most]
        order = order[summed[order] > 0]
        named = [
            {"item_id": state.items.id(int(distinct[i])), "contribution": float(summed[i])} for i in order
        ]
        rest = float(summed.sum() - summed[order].sum())
        found.append({"base": float(base[row]), "items": named, "rest": rest})
    return found


async def similar(state: State, item: Id, k: int) -> list[dict[str, Any]]:
    """Return the items most like one.

    Raises:
        ApiError: it is not known.
    """
    row = known_item(state, item)
    many = len(state.items) > _INLINE
    top: TopK = await asyncio.to_thread(state.items.similar, row, k) if many else state.items.similar(row, k)
    return listed(state, top.items[0].tolist(), top.scores[0].tolist())


def known_item(state: State, item: Id) -> int:
    """Return the row of an item, or say that there is none."""
    row = state.items.row(item)
    if row is None:
        raise ApiError(404, f"there is no item {shown(item)}", "item_id")
    return row


async def score(state: State, users: Users, body: ScoreBody, limits: Limits) -> list[dict[str, Any]]:
    """Score pairs, as `models.Scored` says.

    Raises:
        ApiError: too many, or someone who is not known.
        StoreUnavailable: events can't be read.
    """
    if len(body.pairs) > limits.list_length:
        raise ApiError(422, f"pairs: at most {limits.list_length}, got {len(body.pairs)}", "pairs")
    rows = np.empty(len(body.pairs), dtype=np.int64)
    places: dict[Id, int] = {}
    vectors: list[NDArray[np.float32]] = []
    place: list[int] = []
    for number, pair in enumerate(body.pairs):
        row = state.items.row(pair.item_id)
        if row is None:
            raise ApiError(
                422, f"pairs.{number}: there is no item {shown(pair.item_id)}", f"pairs.{number}.item_id"
            )
        rows[number] = row
        name = state.users.native(pair.user_id)
        if name not in places:
            user = await users.find(state, name)
            if user is None:
                raise ApiError(
                    422, f"pairs.{number}: user {shown(name)} is not known", f"pairs.{number}.user_id"
                )
            places[name] = len(vectors)
            vectors.append(user.vector)
        place.append(places[name])
    scores, predictions = state.scores(np.stack(vectors)[place], rows)
    return [
        {
            "user_id": state.users.native(pair.user_id),
            "item_id": state.items.id(row),
            "score": value,
            "prediction": prediction,
        }
        for pair, row, value, prediction in zip(body.pairs, rows.tolist(), scores, predictions, strict=True)
    ]
