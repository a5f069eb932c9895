"""Answers to "what for whom": lists, similar items, scores, each with its reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twotower.core.lists import Lists
from twotower.recommender.similarity import users_of
from twotower.retrieval import Candidates, exact_top_k
from twotower.server.catalogue import NO_ROWS
from twotower.server.errors import ApiError, shown
from twotower.server.inputs import Id
from twotower.server.queries import TOGETHER, AskedUser, EncodedUser, encoded, encoded_users
from twotower.server.request_models import ScoreBody
from twotower.server.settings import Limits
from twotower.server.staged import found_for
from twotower.server.state import State
from twotower.server.user_events import Past
from twotower.server.wanted import Wanted
from twotower.server.workers import Deadline

INLINE = 300_000
"""Scores up to which a search is made at once; a longer one goes to a thread, so that nobody waits for it."""
_OF_INDEX = 20_000
"""Scores that a search of an index takes about as long as."""
_PARTS = 250_000
"""Contributions that are worked out at once: 2 MB."""


def check_size(k: int, explain: int, limits: Limits, users: int = 1) -> None:
    """Refuse too long a list, too many reasons, or too large an answer."""
    if k > limits.k:
        raise ApiError(422, f"k must be between 1 and {limits.k}, got {shown(k)}", "k")
    if explain > limits.explain:
        raise ApiError(422, f"explain: at most {limits.explain}, got {shown(explain)}", "explain")
    if users * k * (1 + explain) > limits.answer_items:
        raise ApiError(
            422,
            f"users times k times (1 + explain): at most {limits.answer_items}, got {users} * {k} * "
            f"{1 + explain}; split the request",
            "k",
        )


def is_small(state: State, asked: Sequence[AskedUser], want: Wanted) -> bool:
    """Return whether the answer is so quick to make that no thread is needed."""
    candidates = len(state.items) if want.allow is None else len(want.allow)
    if state.recommender.index is not None and state.recommender.index.waits:
        return False
    if state.recommender.index is not None and want.allow is None:
        candidates = min(candidates, _OF_INDEX)
    past = sum(len(one.past.events) + len(one.history or ()) for one in asked)
    return (
        state.recommender.ranker is None
        and want.diversity is None
        and len(asked) * candidates <= INLINE
        and len(asked) * (1 + want.explain) <= 50
        and len(asked) * want.k * (1 + want.explain) <= 2_000
        and past <= 500
        and not any(one.features or one.context for one in asked)
        and not (want.explain and state.recommender.model.users.reads_history)
    )


def lists(
    state: State, asked: Sequence[AskedUser], want: Wanted, deadline: Deadline
) -> Iterator[tuple[dict[str, Any], EncodedUser]]:
    """Yield the list of each user, a `UserList`, and the encoded user.

    Raises:
        ApiError: a user that is not known, by id, features or history; the time is up.
    """
    users = encoded_users(state, asked, deadline)
    vectors = users[0].vector[None] if len(users) == 1 else np.stack([user.vector for user in users])
    barred = [user.seen if want.exclude_seen else NO_ROWS for user in users]
    if len(want.deny):
        barred = [np.concatenate([own, want.deny]) for own in barred]
    top, given_up = found_for(state, users, vectors, Lists.from_groups(barred), want)
    for place, user in enumerate(users):
        deadline.check()
        items = listed(state, top, place)
        if want.explain and items:
            own = top.items[place, : len(items)].astype(np.int64)
            for item, because in zip(items, reasons(state, user, own, want.explain), strict=True):
                item["because"] = because
        name, known = asked[place].name, user.known
        said = {} if given_up is None or not given_up.of(place) else {"given_up": given_up.of(place)}
        yield {"user_id": name, "known": known, "events": user.events, "items": items, **said}, user


def listed(state: State, top: Candidates, place: int) -> list[dict[str, Any]]:
    """Return what was found for one query, each item a `Recommended`, without the padding."""
    items, rows, scores = state.items, top.items[place].tolist(), top.scores[place].tolist()
    return [
        {"item_id": items.id(row), "rank": place, "score": score, "display": items.display(row)}
        for place, (row, score) in enumerate(zip(rows, scores, strict=True), 1)
        if row >= 0
    ]


def reasons(state: State, user: EncodedUser, rows: NDArray[np.int64], most: int) -> Iterator[dict[str, Any]]:
    """Split the scores of items, each into a `Because`; see `Histories.reasons`."""
    past, split = state.encoder.histories.reasons(user.vector, user.asked)
    # What a user has had twice is one reason.
    distinct, place = np.unique(past, return_inverse=True)
    together = max(1, _PARTS // max(1, len(past)))  # so that memory follows neither k nor the history
    for start in range(0, len(rows), together):
        base, parts = split(rows[start : start + together])
        for row, own in enumerate(parts):
            summed = np.bincount(place, weights=own, minlength=len(distinct))
            order = np.argsort(-summed, kind="stable")[:most]
            order = order[summed[order] > 0]
            named = [
                {"item_id": state.items.id(int(distinct[i])), "contribution": float(summed[i])} for i in order
            ]
            rest = float(summed.sum() - summed[order].sum())
            yield {"base": float(base[row]), "items": named, "rest": rest}


def users_for(state: State, row: int, k: int) -> list[dict[str, Any]]:
    """Return the trained users with the highest score for an item, each a `ScoredUser`."""
    own = state.recommender
    trained = state.items.trained.ids.index.get(state.items.id(row), -1)
    barred = users_of(own.seen, np.array([trained]))
    item = state.items.vectors_of(np.array([row]))
    top = exact_top_k(item, own.users.vectors, k, seen=barred)
    found = zip(top.items[0].tolist(), top.scores[0].tolist(), strict=True)
    return [
        {"user_id": state.users.known[user], "rank": rank, "score": score}
        for rank, (user, score) in enumerate(found, 1)
        if user >= 0
    ]


def known_item(state: State, item: Id) -> int:
    """Return the row of an item, or raise a 404."""
    row = state.items.row(item)
    if row is None:
        raise ApiError(404, f"there is no item {shown(item)}", "item_id")
    return row


def score(
    state: State, body: ScoreBody, pasts: Mapping[Id, Past], deadline: Deadline
) -> list[dict[str, Any]]:
    """Score pairs, each a `Scored`.

    Args:
        state: to answer from.
        body: the pairs.
        pasts: of each user, by the id as the model writes it.
        deadline: of the request.

    Raises:
        ApiError: someone or something that is not known, if the body is strict; the time is up.
    """
    names = list(dict.fromkeys(state.users.native(pair.user_id) for pair in body.pairs))
    users: dict[Id, EncodedUser | None] = {}
    for start in range(0, len(names), TOGETHER):
        part = names[start : start + TOGETHER]
        asked = [AskedUser("", name, pasts[name]) for name in part]
        users |= zip(part, encoded(state, asked, deadline), strict=True)
    rows: list[int] = []
    scored: list[int] = []
    vectors: list[NDArray[np.float32]] = []
    for number, pair in enumerate(body.pairs):
        row = state.items.row(pair.item_id)
        if row is None and body.strict:
            raise ApiError(
                422, f"pairs.{number}: there is no item {shown(pair.item_id)}", f"pairs.{number}.item_id"
            )
        name = state.users.native(pair.user_id)
        user = users[name]
        if user is None and body.strict:
            raise ApiError(422, f"pairs.{number}: user {shown(name)} is not known", f"pairs.{number}.user_id")
        if row is not None and user is not None:
            rows.append(row)
            scored.append(number)
            vectors.append(user.vector)
    results: list[dict[str, Any]] = [
        {
            "user_id": state.users.native(pair.user_id),
            "item_id": state.items.trained.ids.native(pair.item_id),
            "score": None,
            "prediction": None,
        }
        for pair in body.pairs
    ]
    if not scored:
        return results
    scores, predictions = state.scores(np.stack(vectors), np.array(rows, dtype=np.int64))
    for number, value, prediction in zip(scored, scores, predictions, strict=True):
        results[number]["score"] = value
        if not state.ranks:
            results[number]["prediction"] = prediction
    return results
