"""`go_on`: an older copy of a store, as of a backup, gives no number that a model knows already."""

from __future__ import annotations

import logging

from twotower.recommender.trained_up_to import TrainedUpTo
from twotower.server.store.events import EventStore

log = logging.getLogger("twotower.server")


async def go_on(store: EventStore, mark: TrainedUpTo) -> None:
    """Let a store that is older than what a model was trained on go on from the model's numbers, and log it.

    Else new events would count as trained on, and new deletions as done.

    Raises:
        StoreUnavailable: it does not respond.
    """
    last = await store.last()
    place, deletion = mark.stores.get(store.data, 0), mark.erased.get(store.data, 0)
    if place <= last and (not deletion or (await store.erased(deletion - 1)).users):
        return
    await store.go_on_from(place, deletion)
    log.warning(
        "the event store is an older copy than the model knows: what was stored since that copy is gone from "
        "it, and users who were deleted since are in it again; delete them again",
        extra={"fields": {"event": last, "event_of_model": place, "deletion_of_model": deletion}},
    )
