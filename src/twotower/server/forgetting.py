"""Users that were deleted, left out of what is served and of the bundle on disk."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from twotower.core.erasure import Erasures
from twotower.errors import TwoTowerError
from twotower.recommender import Recommender
from twotower.recommender.bundle import CONFIG, read_facts, read_manifest
from twotower.recommender.forgetting import ITEMS_OF, versions_of, without_users
from twotower.recommender.trained_up_to import FACT, TrainedUpTo
from twotower.server.state import State
from twotower.workflows.forgetting import forget_users
from twotower.workflows.run import Run

log = logging.getLogger("twotower.server")


def without_erased(state: State, erasures: Erasures) -> State:
    """Return the state without users that were deleted after its model was trained."""
    rows = np.flatnonzero(erasures.places(state.users.ids) >= 0)
    mark = state.mark.without(erasures)
    if not len(rows):
        return replace(state, mark=mark)
    fresh = State.of(without_users(state.recommender, rows), state.version, mark)
    items = replace(state.items, trained=fresh.items.trained)
    return replace(fresh, items=items, loaded=state.loaded)


def rewritten(bundle: Path, erasures: Erasures) -> str:
    """Delete users from the run of a bundle, or from a bundle alone; return why it was not done, if so."""
    try:
        if bundle.name == "bundle" and (bundle.parent / CONFIG).exists():
            forget_users(Run(bundle.parent), erasures)
            return ""
        facts = read_facts(bundle)
        mark = TrainedUpTo.of(facts)
        pending = mark.pending(erasures)
        if not pending.users:
            return ""
        model = Recommender.load(bundle)
        rows = np.flatnonzero(pending.places(model.user_ids) >= 0)
        facts |= {FACT: mark.without(pending).state, ITEMS_OF: versions_of(read_manifest(bundle))[-1]}
        without_users(model, rows).save(bundle, **facts)
    except (TwoTowerError, OSError) as error:
        reason = str(error).replace(str(bundle), "BUNDLE").replace(str(bundle.parent), "RUN")
        log.error("deleted users are still in the bundle on disk", extra={"fields": {"reason": str(error)}})
        fix = "run `twotower forget STORE RUN --user ID` where it can be written"
        return f"the bundle on disk still has the user: {reason.removesuffix('.')}; {fix}"
    return ""
