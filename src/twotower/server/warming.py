"""The first of every kind of answer, made when a model is loaded, so that no client waits for compilers."""

from __future__ import annotations

import contextlib

import numpy as np

from twotower.server.asked import Asked, people
from twotower.server.bodies import Pair, ScoreBody
from twotower.server.errors import ApiError
from twotower.server.ranking import Wanted, lists, score
from twotower.server.settings import Limits
from twotower.server.state import State
from twotower.server.users import Past
from twotower.server.work import Deadline


def warm_up(state: State) -> None:
    """Answer what requests may ask: lists with and without filters, reasons, folding in, scores, similar."""
    users, items = state.users.known[:1], state.items.trained.ids.known[:1]
    if not users or not items:
        return
    limits, deadline, past = Limits(), Deadline(float("inf")), Past()
    known = Asked("users.0", users[0], None, None, past)
    new = Asked("users.1", None, None, items, past)
    first = np.zeros(1, dtype=np.int32)
    for asked in ([known], [new], [known, new]):
        for allow in (None, first):
            list(lists(state, asked, Wanted(2, allow=allow, deny=first, explain=2), limits, deadline))
    state.items.similar(0, 2)
    score(state, ScoreBody(pairs=[Pair(user_id=users[0], item_id=items[0])]), {users[0]: past}, deadline)
    nothing = dict.fromkeys(state.recommender.encoder.schema.users)
    with contextlib.suppress(ApiError):  # a model without features of users
        people(state, [Asked("users.2", None, nothing, None, past)], limits, deadline)
