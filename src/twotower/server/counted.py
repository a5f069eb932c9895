"""`counted`: the events of a user that the model was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from twotower.server.inputs import Id
from twotower.server.state import State
from twotower.server.store import Event
from twotower.server.user_events import Past


def counted(state: State, name: Id | None, past: Past) -> Sequence[Event]:
    """Return a user's events without those that the model was trained on.

    An interaction is left out if the training set may have it (`TrainedUpTo.may_have`) and the user has the
    item there. So what was held out of training still counts, as does what came late.
    """
    row = None if name is None else state.users.index.get(name)
    if row is None:
        return past.events
    ids, seen = state.items.trained.ids, set[int]()
    found = []
    for place, event in zip(past.places, past.events, strict=True):
        if event.kind == "interaction" and state.mark.may_have(past.store, place, event.time):
            seen = seen or set(state.recommender.seen[row].tolist())
            if ids.index.get(ids.native(event.item)) in seen:
                continue
        found.append(event)
    return found
