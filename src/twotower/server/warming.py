"""First answers of each kind, made when a model is loaded, so that no client waits for compilation."""

from __future__ import annotations

import contextlib

import numpy as np

from twotower.server.errors import ApiError
from twotower.server.queries import AskedUser, encoded_users
from twotower.server.ranking import lists, score
from twotower.server.request_models import Pair, ScoreBody
from twotower.server.state import State
from twotower.server.user_events import Past
from twotower.server.wanted import Wanted
from twotower.server.workers import Deadline


def warm_up(state: State) -> None:
    """Make lists with and without filters, reasons, vectors of new users, scores and similar items."""
    users, items = state.users.known[:1], state.items.trained.ids.known[:1]
    if not users or not items:
        return
    deadline, past = Deadline(float("inf")), Past()
    known = AskedUser("users.0", users[0], past)
    new = AskedUser("users.1", None, past, history=items)
    first = np.zeros(1, dtype=np.int32)
    for asked in ([known], [new], [known, new]):
        for allow in (None, first):
            list(lists(state, asked, Wanted(2, allow=allow, deny=first, explain=2), deadline))
    state.items.similar(0, 2)
    score(state, ScoreBody(pairs=[Pair(user_id=users[0], item_id=items[0])]), {users[0]: past}, deadline)
    nothing = dict.fromkeys(state.recommender.encoder.schema.users)
    with contextlib.suppress(ApiError):  # a model without features of users
        encoded_users(state, [AskedUser("users.2", None, past, features=nothing)], deadline)
